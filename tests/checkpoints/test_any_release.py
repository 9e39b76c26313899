"""Property tests of releases: any weights, and any content in their files."""

import json
import math
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from deblurlab.checkpoints.release import read_release, write_release
from deblurlab.errors import UserError

MODEL = {"_target_": "deblurlab.models.UNet", "width": 4, "blocks": [1, 2], "norm": None}
WEIGHTS = {"a": torch.arange(6).reshape(2, 3) / 8, "b.c": torch.tensor(7)}
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64]

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from([1, "model.safetensors", "config.json", "..", "/etc/passwd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
BITS = {"F64": 64, "F32": 32, "BF16": 16, "C64": 64, "U8": 8, "BOOL": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F4": 4}
"""Bits per value of dtypes in safetensors files, some of which torch lacks."""


@st.composite
def files(draw: st.DrawFn) -> tuple[dict[str, Any], bytes]:
    """Draw the header and the body of a safetensors file, mostly valid."""
    header: dict[str, Any] = {}
    end = 0
    for name in draw(st.lists(st.text(max_size=3), max_size=3, unique=True)):
        shape = draw(st.lists(st.integers(0, 4) | st.just(2**63), max_size=3))
        dtype, start = draw(st.sampled_from(sorted(BITS))), end
        end += min(math.prod(shape) * BITS[dtype] // 8, 999)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        if draw(st.integers(0, 5)) == 0:
            header[name][draw(st.sampled_from(sorted(header[name])))] = draw(values)
    return header, bytes(max(0, end + draw(st.sampled_from([0, 0, 0, 0, -1, 1]))))


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    tensor = torch.randint(0, 200, shape, generator=generator).to(draw(st.sampled_from(DTYPES)))
    return tensor.movedim(0, -1) if shape and draw(st.booleans()) else tensor


def _same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        and found[name].tolist() == tensor.tolist()
        for name, tensor in expected.items()
    )


@pytest.fixture(scope="module")
def release() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        write_release(Path(folder) / "release", OmegaConf.create(MODEL), WEIGHTS, {"run": {"sets": {}}})
        yield Path(folder) / "release"


@pytest.fixture(scope="module")
def index(release: Path) -> bytes:
    return (release / "config.json").read_bytes()


def _refused_or_read(release: Path, index: bytes, expected: dict[str, Tensor]) -> None:
    (release / "config.json").write_bytes(index)
    try:
        found, weights = read_release(release)
    except UserError:
        return
    assert _same(weights, expected)
    assert found["format"] == 1
    assert isinstance(found["model"]["class"], str)
    assert isinstance(found["model"]["arguments"], dict)


@given(st.dictionaries(names, tensors(), max_size=5), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_any_weights_survive_a_round_trip(weights: dict[str, Tensor], half: bool, tied: bool) -> None:
    weights |= {f"{name}.tied": tensor for name, tensor in weights.items() if tied}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "release"
        write_release(path, OmegaConf.create(MODEL), weights, {"run": {}}, half=half)
        index, found = read_release(path)
    assert index["model"] == {
        "class": "deblurlab.models.UNet",
        "arguments": {"width": 4, "blocks": [1, 2], "norm": None},
    }
    expected = {name: t.half() if half and t.is_floating_point() else t for name, t in weights.items()}
    assert _same(found, expected)


@given(st.data())
@settings(max_examples=150)
def test_changed_bytes_of_the_index_are_refused_or_harmless(release: Path, index: bytes, data: st.DataObject) -> None:
    at, removed = data.draw(st.integers(0, len(index))), data.draw(st.integers(0, 3))
    _refused_or_read(release, index[:at] + data.draw(st.binary(max_size=3)) + index[at + removed :], WEIGHTS)


@given(
    st.sampled_from([["format"], ["model"], ["weights"], ["model", "class"], ["model", "arguments"],
                     ["weights", "file"], ["weights", "sha256"]]),
    st.booleans(),
    values,
)  # fmt: skip
@settings(max_examples=150)
def test_changed_values_of_the_index_are_refused_or_harmless(
    release: Path, index: bytes, keys: list[str], removed: bool, value: Any
) -> None:
    changed = json.loads(index)
    node = changed[keys[0]] if len(keys) == 2 else changed
    node[keys[-1]] = value
    if removed:
        del node[keys[-1]]
    _refused_or_read(release, json.dumps(changed).encode(), WEIGHTS)


@given(st.data())
@settings(max_examples=50)
def test_changed_weights_are_refused(release: Path, index: bytes, data: st.DataObject) -> None:
    (release / "config.json").write_bytes(index)
    file = release / "model.safetensors"
    original = file.read_bytes()
    at, removed = data.draw(st.integers(0, len(original) - 1)), data.draw(st.integers(1, 3))
    changed = original[:at] + data.draw(st.binary(max_size=3)) + original[at + removed :]
    file.write_bytes(changed)
    try:
        if changed != original:
            with pytest.raises(UserError, match="isn't the file that was released"):
                read_release(release)
    finally:
        file.write_bytes(original)


def _released(folder: str, header: dict[str, Any], body: bytes) -> Path:
    """Write a release of any safetensors file with the right checksum, with the file names of earlier versions."""
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + body
    weights = {"file": "weights.safetensors", "sha256": sha256(data).hexdigest()}
    (Path(folder) / "weights.safetensors").write_bytes(data)
    index = {"format": 1, "model": {"class": "x", "arguments": {}}, "weights": weights}
    (Path(folder) / "release.json").write_text(json.dumps(index))
    return Path(folder)


@given(files())
def test_any_weight_file_with_the_right_checksum_is_read_or_refused(file: tuple[dict[str, Any], bytes]) -> None:
    header, body = file
    with tempfile.TemporaryDirectory() as folder:
        try:
            _, weights = read_release(_released(folder, header, body))
        except UserError:
            return
    assert weights.keys() == header.keys()
    assert sum(tensor.nbytes for tensor in weights.values()) == len(body)


@pytest.mark.parametrize(
    ("header", "message"),
    [({"dtype": "F8_E8M0", "shape": [4], "data_offsets": [0, 4]}, "F8_E8M0"),
     ({"dtype": "F32", "shape": [0, 2**63], "data_offsets": [0, 0]}, "Overflow")],
)  # fmt: skip
def test_dtypes_and_sizes_that_torch_lacks_are_refused_in_one_line(
    header: dict[str, Any], message: str, tmp_path: Path
) -> None:
    release = _released(str(tmp_path), {"a": header}, bytes(header["data_offsets"][1]))
    with pytest.raises(UserError, match=f"weights.safetensors can't be read as weights: .*{message}") as caught:
        read_release(release)
    assert len(str(caught.value).splitlines()) == 1
