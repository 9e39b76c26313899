"""Loading of weight files: all formats of torch, nothing but tensors and plain data."""

from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deblurlab.checkpoints.safe_load import has_storage_for, load_tensors

CONTENT = {
    "tensor": torch.arange(6, dtype=torch.int64).view(2, 3), "half": torch.ones(2).half(), "dtype": torch.bfloat16,
    "parameter": nn.Parameter(torch.ones(2)), "size": torch.Size([2]), "counter": Counter({1: 2}),
    "ordered": OrderedDict(a=1.5), "plain": [None, True, (1, "x")],
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_and_plain_data_are_read_from_both_formats(tmp_path: Path, zipped: bool) -> None:
    """torch wrote the format that isn't an archive until version 1.6."""
    torch.save(CONTENT, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    content = load_tensors(tmp_path / "a.pth")
    assert content.keys() == CONTENT.keys()
    for key, value in CONTENT.items():
        assert torch.equal(content[key], value) if isinstance(value, torch.Tensor) else content[key] == value


def test_torch_reads_to_the_cpu_and_executes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(CONTENT, tmp_path / "a.pth")
    seen: list[Any] = []
    monkeypatch.setattr(torch, "load", lambda file, **options: seen.append((file.tell(), options)))
    load_tensors(tmp_path / "a.pth")
    assert seen == [(0, {"map_location": "cpu", "weights_only": True})]


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("protocol", "message"), [(2, "it names pathlib"), (4, "it names things")])
def test_other_names_are_refused(tmp_path: Path, zipped: bool, protocol: int, message: str) -> None:
    """Protocol 4 takes names from the stack, where they can't be checked."""
    file = tmp_path / "a.pth"
    torch.save({"path": Path("/")}, file, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=message):
        load_tensors(file)


def test_tensors_need_storage_for_a_quarter_of_their_bytes() -> None:
    number = torch.ones(1)
    assert has_storage_for([number.expand(4)])
    assert not has_storage_for([number.expand(5)])
    shared = torch.ones(8)
    assert has_storage_for([shared, shared[:4], torch.ones(2).double()])
