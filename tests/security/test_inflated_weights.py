"""Weights that claim more memory than their file has."""

import codecs
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.release import write_release
from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.checkpoints.state_dicts import state_dicts
from deblurlab.errors import UserError
from deblurlab.models import UNet
from security.hostile import Call


@pytest.mark.parametrize(
    "call",
    [
        Call(codecs.encode, "x" * 10, "hex"),
        Call(bytearray, 10**10),
        Call(
            torch._utils._rebuild_device_tensor_from_cpu_tensor, torch.zeros(1).expand(9), torch.float64, "cpu", False
        ),
    ],
)
def test_calls_that_allocate_memory_are_refused(tmp_path: Path, call: Call) -> None:
    torch.save({"state_dict": {}, "extra": call}, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match="it names .*, which no weights do"):
        load_tensors(tmp_path / "a.ckpt")


def test_of_two_directories_the_one_that_is_checked_is_read(tmp_path: Path) -> None:
    """torch.load reads the directory that the end record names, zipfile the one before it."""
    torch.save({"a": torch.zeros(3)}, valid := io.BytesIO())
    torch.save({"a": torch.ones(3)}, other := io.BytesIO())
    first, second = valid.getvalue(), other.getvalue()
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        directory = archive.start_dir
    end = second[-22:-6] + struct.pack("<L", directory) + second[-2:]
    (tmp_path / "a.ckpt").write_bytes(first + second[:-22] + end)
    with zipfile.ZipFile(tmp_path / "a.ckpt") as archive:
        numbers = archive.read(next(name for name in archive.namelist() if name.endswith("data/0")))
    assert load_tensors(tmp_path / "a.ckpt")["a"].tolist() == list(struct.unpack("<3f", numbers)) == [1, 1, 1]


def test_files_that_torch_writes_are_read(tmp_path: Path) -> None:
    tensors = {
        str(dtype): torch.ones(2).to(dtype) for dtype in (torch.bfloat16, torch.float64, torch.int64, torch.bool)
    }
    content = {
        **tensors,
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        "parameter": torch.nn.Parameter(torch.ones(1)),
    }
    for zipped in (True, False):
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
        assert load_tensors(tmp_path / "a.pth").keys() == content.keys()


def test_weights_that_repeat_a_few_bytes_are_refused(tmp_path: Path) -> None:
    node = OmegaConf.create({"_target_": "deblurlab.models.UNet", "width": 16})
    model = UNet(width=16)
    state = {f"generator.{name}": torch.zeros(1).expand(value.shape) for name, value in model.state_dict().items()}
    record = {"model": OmegaConf.to_container(node)}
    torch.save({"state_dict": state, "record": record}, tmp_path / "a.ckpt")
    assert (tmp_path / "a.ckpt").stat().st_size < 100_000
    with pytest.raises(UserError, match=r"a\.ckpt holds weights that are larger than their bytes"):
        load_model(tmp_path / "a.ckpt")
    write_release(tmp_path / "valid", node, model.state_dict(), {})
    assert isinstance(load_model(tmp_path / "valid"), UNet)


def test_a_state_dict_that_contains_itself_is_unwrapped(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": torch.zeros(1)}
    content["params"] = content
    assert state_dicts(content, tmp_path)[-1].keys() == {"a"}
