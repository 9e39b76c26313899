"""Untrusted releases."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.release import read_release
from deblurlab.errors import UserError
from security.hostile import bounded
from support import small_release

TOUCH = {"_target_": "os.system", "command": "touch canary"}
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def valid_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("release") / "released")


@pytest.fixture
def release(valid_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(valid_release, tmp_path / "released")


def _refused(release: Path, message: str) -> None:
    """Assert that loading raises a UserError that names the release, within bounds and without executing anything."""
    with bounded(), pytest.raises(UserError, match=rf"(?s){release.name}.*{message}"):
        load_model(release)
    assert not Path("canary").exists()


def _index(release: Path, change: Change) -> None:
    index = json.loads((release / "config.json").read_text())
    change(index)
    (release / "config.json").write_text(json.dumps(index))


def _weights(release: Path, data: bytes) -> None:
    (release / "model.safetensors").write_bytes(data)
    _index(release, lambda index: index["weights"].update(sha256=hashlib.sha256(data).hexdigest()))


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "deblurlab.serving.service.RestoreService", "deblurlab.models.base.Model",
     "deblurlab.cli.main.main", "deblurlab.models.blocks.DoubleConv",
     "deblurlab.models.__all__", "", "deblurlab.models.UNetRes.__init__", 7, None,
     ["os.system"], {"a": 1}],
    ids=str,
)  # fmt: skip
def test_another_class_is_refused(name: Any, release: Path) -> None:
    _index(release, lambda index: index["model"].update({"class": name, "arguments": {"command": "touch canary"}}))
    _refused(release, "")


@pytest.mark.parametrize(
    "arguments",
    [TOUCH, {"width": TOUCH}, {"blocks": [[TOUCH]]}, {"_args_": [4]}, {"_partial_": True}, {"_recursive_": True},
     {"_convert_": "none"}, {"width": "${oc.env:HOME}"}, {"width": "${hydra:run.dir}"},
     {"no such": 1}, {"width": -4}, {"width": "x"}, {"width": None}, [], "x", None],
    ids=str,
)  # fmt: skip
def test_arguments_other_than_plain_model_values_are_refused(arguments: Any, release: Path) -> None:
    _index(release, lambda index: index["model"].update(arguments=arguments))
    _refused(release, "")


@pytest.mark.parametrize(
    "arguments",
    [{"width": 10**9}, {"depth": 10**9}, {"depth": 60}, {"blocks": 10**9}, {"width": 10**30}, {"width": 10**6},
     {"blocks": [10**7, 1]}],
    ids=str,
)  # fmt: skip
def test_huge_arguments_are_refused_before_memory_is_allocated(arguments: dict[str, Any], release: Path) -> None:
    _index(release, lambda index: index["model"]["arguments"].update(arguments))
    _refused(release, "")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", "..", ".", "", "a\0b", 7, None, ["x"]])
def test_weights_outside_of_the_release_are_not_read(name: Any, release: Path) -> None:
    (release.parent / "secret").write_bytes(b"secret")
    _index(release, lambda index: index["weights"].update(file=name))
    _refused(release, "")


def test_a_link_out_of_the_release_is_not_followed(release: Path) -> None:
    weights = release / "model.safetensors"
    weights.rename(release.parent / "secret")
    weights.symlink_to(release.parent / "secret")
    _refused(release, "names a file outside the release")
    weights.unlink()
    weights.symlink_to("/dev/zero")
    _refused(release, "names a file outside the release")


def test_a_sparse_file_is_not_read(release: Path) -> None:
    os.truncate(release / "model.safetensors", 1 << 40)
    _refused(release, "has more than 4 GiB")


def test_an_index_that_is_not_text_is_refused(release: Path) -> None:
    (release / "config.json").write_bytes(b"\xff\xfe\x00")
    _refused(release, "isn't the index of a release")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "7", "null", "", "{}", "9" * 10_000])
def test_an_index_with_another_structure_is_refused(text: str, release: Path) -> None:
    (release / "config.json").write_text(text)
    _refused(release, "isn't the index of a release")


@pytest.mark.parametrize("part", ["model", "weights", "format"])
@pytest.mark.parametrize("value", [None, [], "x", {}, 7])
def test_entries_of_another_type_are_refused(part: str, value: Any, release: Path) -> None:
    _index(release, lambda index: index.update({part: value}))
    _refused(release, "")


def _file(header: bytes, data: int) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(data)


def _tensor(kind: str, shape: str, end: int) -> bytes:
    return f'{{"dtype":"{kind}","shape":{shape},"data_offsets":[0,{end}]}}'.encode()


HEADERS = {
    "empty": b"",
    "short": b"\x08\x00",
    "longer than the file": struct.pack("<Q", 1 << 20) + b"{}",
    "longer than anything": struct.pack("<Q", 2**64 - 1) + b"{}",
    "deep": _file(b"[" * 100_000, 0),
    "beyond the data": _file(b'{"x":' + _tensor("F32", "[9]", 36) + b"}", 0),
    "another size": _file(b'{"x":' + _tensor("F32", "[9]", 4) + b"}", 4),
    "overflow": _file(b'{"x":' + _tensor("F32", "[4611686018427387905,4]", 16) + b"}", 16),
    "negative": _file(b'{"x":' + _tensor("F32", "[-1]", 4) + b"}", 4),
    "unknown kind": _file(b'{"x":' + _tensor("PICKLE", "[1]", 4) + b"}", 4),
    "overlapping": _file(b'{"x":' + _tensor("U8", "[4]", 4) + b',"y":' + _tensor("U8", "[4]", 4) + b"}", 4),
    "trailing bytes": safetensors.torch.save({"x": torch.zeros(1)}) + b"x",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_damaged_weight_file_is_refused(kind: str, release: Path) -> None:
    _weights(release, HEADERS[kind])
    with pytest.raises(UserError, match="model.safetensors can't be read"):
        read_release(release)
    _refused(release, "can't be read")


def test_tensors_of_other_shapes_and_names_are_refused(release: Path) -> None:
    weights = read_release(release)[1]
    name = next(iter(weights))
    for changed in (
        weights | {name: weights[name][:1]},
        weights | {name: weights[name].expand(2, *weights[name].shape).contiguous()},
        weights | {"extra": torch.zeros(1)},
        {n: w for n, w in weights.items() if n != name},
    ):
        _weights(release, safetensors.torch.save(changed))
        _refused(release, "(belong to another|describe a larger) model")


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_tensors_of_other_dtypes_are_refused(dtype: torch.dtype, release: Path) -> None:
    weights = read_release(release)[1]
    _weights(release, safetensors.torch.save({name: value.to(dtype) for name, value in weights.items()}))
    _refused(release, "")


def test_a_flipped_bit_is_detected(release: Path) -> None:
    file = release / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    _refused(release, "isn't the file that was released")
