"""Loading of weight files: all formats of torch, nothing but tensors and plain data."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from deblurlab.checkpoints.safe_load import has_storage_for, load_tensors
from deblurlab.checkpoints.unpickle import Ignored

CONTENT: dict[str, Any] = {
    "tensor": torch.arange(6, dtype=torch.int64).view(2, 3), "half": torch.ones(2).half(), "dtype": torch.bfloat16,
    "parameter": nn.Parameter(torch.ones(2)), "size": torch.Size([2]), "counter": Counter({1: 2}),
    "ordered": OrderedDict(a=1.5), "marked": nn.Parameter(torch.zeros(2)), "plain": [None, True, (1, "x")],
}  # fmt: skip
CONTENT["marked"].frozen = True  # an attribute is stored beside the tensor
AGAIN = "download it again, or use an earlier checkpoint"


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_and_plain_data_are_read_from_both_formats(tmp_path: Path, zipped: bool) -> None:
    """torch wrote the format that isn't an archive until version 1.6."""
    torch.save(CONTENT, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    content = load_tensors(tmp_path / "a.pth")
    assert content.keys() == CONTENT.keys()
    for key, value in CONTENT.items():
        assert torch.equal(content[key], value) if isinstance(value, torch.Tensor) else content[key] == value


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_other_classes_are_refused_or_ignored(tmp_path: Path, zipped: bool, protocol: int) -> None:
    """Protocol 4 takes names from the stack."""
    file = tmp_path / "a.pth"
    numbers = defaultdict(list, a=[torch.ones(2)])
    content = {
        "path": Path("/"), "options": Namespace(a=1, b=[torch.zeros(1)]), "psnr": np.float64(3), "array": np.ones(3),
        "date": datetime(2020, 1, 2), "set": {1, 2}, "type": nn.Linear, "numbers": numbers, "weight": torch.ones(2),
        "module": nn.Linear(1, 1), "random": np.random.RandomState(0), "decimal": Decimal("1.5"), "complex": 1j,
    }  # fmt: skip
    torch.save(content, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"it names pathlib\.PosixPath, which no weights do"):
        load_tensors(file)
    loaded = load_tensors(file, ignore_objects=True)
    assert loaded.keys() == content.keys()
    assert loaded["weight"].tolist() == loaded["numbers"]["a"][0].tolist() == [1, 1]
    ignored = {key for key, value in loaded.items() if isinstance(value, Ignored)}
    assert ignored - {"set"} == content.keys() - {"weight", "numbers", "type", "set"}
    assert issubclass(loaded["type"], Ignored)
    assert type(loaded["options"]).__name__ == "argparse.Namespace"


def test_views_share_their_storage_and_state_dicts_keep_their_version(tmp_path: Path) -> None:
    rows = torch.arange(6.0).view(2, 3)
    state: Any = nn.BatchNorm2d(2).state_dict()
    torch.save({"rows": rows, "column": rows[:, 1], "state": state}, tmp_path / "a.pth")
    loaded = load_tensors(tmp_path / "a.pth")
    loaded["rows"][1, 1] = 9
    assert loaded["column"].tolist() == [1, 9]
    assert loaded["state"]._metadata == state._metadata == {"": {"version": 2}}


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.uint16], ids=str)
def test_every_type_of_number_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.save({"a": torch.ones(3).to(dtype)}, tmp_path / "a.pth")
    loaded = load_tensors(tmp_path / "a.pth")["a"]
    assert loaded.dtype == dtype
    assert loaded.to(torch.complex64).tolist() == [1, 1, 1]


def test_safetensors_are_read_whatever_their_name(tmp_path: Path) -> None:
    safetensors.torch.save_file({"a": torch.ones(2)}, tmp_path / "a.bin")
    assert load_tensors(tmp_path / "a.bin")["a"].tolist() == [1, 1]


def _gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b"weights"))


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.pth", b"x" * 99)


def _npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__)


def _script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            archive.writestr(f"net/{name}", b"x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"^it is empty: {AGAIN}$"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>", r"a web page \(HTML\), not the file"),
        (b"\xef\xbb\xbf<HTML lang=en>", r"a web page \(HTML\), not the file"),
        (b"<?xml version='1.0'?><Error>", "an XML document, most likely a server's error message"),
        ("Zugriff verweigert: für alle\n".encode(), r"a text file \('Zugriff verweigert: für alle'\)"),
        (("ä" * 300).encode()[:511], "a text file"),
        (_gzip, "a gzip archive: unpack it"),
        (_zip, "a ZIP archive, but none of weights: unpack it"),
        (_tar, "a tar archive: unpack it"),
        (_script, "a TorchScript program"),
        (b"\x89HDF\r\n\x1a\n\0", "an HDF5 file"),
        (pickle.dumps({"a": 1}), "a pickle, but none that torch.save wrote"),
        (b"\0\1\2\3", "its format is unknown"),
        (b"\x93NUMPY\1\0", "a single array: write all of them to an .npz file"),
        (_npz, "^it is an archive of numpy.savez: give it the suffix .npz$"),
    ],
)  # fmt: skip
def test_other_files_are_named(tmp_path: Path, content: bytes | Callable[[Path], None], message: str) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(content) if isinstance(content, bytes) else content(file)
    with pytest.raises(ValueError, match=message) as raised:
        load_tensors(file)
    assert "\n" not in str(raised.value)


def test_tensors_need_storage_for_a_quarter_of_their_bytes() -> None:
    number = torch.ones(1)
    assert has_storage_for([number.expand(4)])
    assert not has_storage_for([number.expand(5)])
    shared = torch.ones(8)
    assert has_storage_for([shared, shared[:4], torch.ones(2).double()])


def _saved(*, zipped: bool) -> bytes:
    torch.save({"a": torch.arange(99.0)}, saved := io.BytesIO(), _use_new_zipfile_serialization=zipped)
    return saved.getvalue()


def _flipped(data: bytes) -> bytes:
    """Return data with a changed bit of the number 50."""
    place = data.index(struct.pack("<f", 50))
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _archive(pickled: bytes) -> bytes:
    with zipfile.ZipFile(written := io.BytesIO(), "w") as archive:
        archive.writestr("a/data.pkl", pickled)
    return written.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (_saved(zipped=True)[:700], None),
        (_saved(zipped=True)[:-1], None),
        (safetensors.torch.save({"a": torch.ones(9)})[:40], None),
        (_saved(zipped=False)[:-1], "it is truncated"),
        (_saved(zipped=False)[:30], "not enough data in stream to read uint4"),
        (safetensors.torch.save({"a": torch.ones(9)})[:-1], "Error while deserializing header: .*"),
        (_flipped(_saved(zipped=True)), "Bad CRC-32 for file '.*/data/0'"),
        (_archive(b"garbage"), "no newline found when trying to read stringnl"),
        (_archive(b"\x80\x02]" + b"]" * 100_000 + b"a" * 100_000 + b"."), "maximum recursion depth exceeded.*"),
    ],
    ids=[
        "cut zip", "zip without its last byte", "cut header", "legacy without its last byte", "cut legacy",
        "safetensors without its last byte", "flipped bit", "garbage", "deep",
    ],
)  # fmt: skip
def test_damaged_files_say_so(tmp_path: Path, data: bytes, reason: str | None) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(data)
    described = f"it is damaged \\({reason}\\)" if reason else "it is incomplete"
    with pytest.raises(ValueError, match=f"^{described}: {AGAIN}$"):
        load_tensors(file)


@pytest.mark.filterwarnings("ignore:.*(quantize|sparse|nested)")
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("ignored", [True, False])
def test_tensors_that_are_not_dense_numbers_are_named(tmp_path: Path, zipped: bool, ignored: bool) -> None:
    kinds = {
        "quantized": torch.quantize_per_tensor(torch.ones(3), 1.0, 0, torch.qint8),
        "sparse": torch.eye(3).to_sparse(),
        "nested": torch.nested.nested_tensor([torch.ones(2)]),
    }
    for kind, tensor in kinds.items():
        torch.save({"a": tensor}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=rf"^it holds {kind} tensors: save .*\(\), with the original code$"):
            load_tensors(tmp_path / "a.pth", ignore_objects=ignored)


def test_names_of_classes_have_no_control_characters(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(_archive(b"\x80\x02cx\ny\x1b[31m\n."))
    with pytest.raises(ValueError, match=r"^it names x\.y\\x1b\[31m, which no weights do: save its state_dict\(\)"):
        load_tensors(file)
    assert load_tensors(file, ignore_objects=True).__name__ == r"x.y\x1b[31m"


@pytest.mark.parametrize("name", ["deblur.model-523000.index", "deblur.model-523000.data-00000-of-00001", "x.meta"])
def test_files_of_tensorflow_checkpoints_are_named(tmp_path: Path, name: str) -> None:
    """The variables are bare numbers: their file may begin like any other."""
    (tmp_path / name).write_bytes(b"\x80\2")
    described = r"TensorFlow checkpoint: write its variables to an \.npz file with numpy\.savez .* docs/training\.md$"
    with pytest.raises(ValueError, match=f"^it is a part of a {described}"):
        load_tensors(tmp_path / name)
    with pytest.raises(ValueError, match=f"^it is the folder of a {described}"):
        load_tensors(tmp_path)


def test_of_a_folder_the_files_of_weights_are_named(tmp_path: Path) -> None:
    (tmp_path / "args.txt").touch()
    with pytest.raises(ValueError, match="^it is a folder without weights: give the file"):
        load_tensors(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/model-1000.pt").touch()
    with pytest.raises(ValueError, match=r"give the file of the weights in it \(\S*/models/model-1000\.pt\)$"):
        load_tensors(tmp_path)
