"""Pretrained weights: sources and messages."""

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deblurlab.checkpoints.pretrained import load_submodule, read_weights
from deblurlab.errors import UserError

URL = "https://example.org/net-12345678.pth"


def test_a_download_is_verified_and_never_executes_code(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    def download(*arguments: Any, **options: Any) -> dict[str, torch.Tensor]:
        calls.append((arguments, options, socket.getdefaulttimeout()))
        return {"a": torch.ones(1)}

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", download)
    before = socket.getdefaulttimeout()
    assert read_weights("imagenet", URL, key="k") == {"a": torch.ones(1)}
    assert socket.getdefaulttimeout() == before
    options = {"map_location": "cpu", "progress": False, "check_hash": True, "weights_only": True}
    assert calls == [((URL,), options, 10)]


@pytest.mark.parametrize(("key", "alternative"), [("my.key", ", or give its path as my.key=<path>"), (None, "")])
def test_unavailable_weights_name_file_address_and_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str | None, alternative: str
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    place = tmp_path / "checkpoints" / "net-12345678.pth"
    with pytest.raises(UserError) as raised:
        read_weights("imagenet", URL, key=key)
    assert str(raised.value) == f"net-12345678.pth is unavailable (no route): place {URL} at {place}{alternative}"


def test_a_path_is_read_and_must_hold_tensors_only(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({"net.weight": torch.ones(1, 2), "net.bias": torch.zeros(1)}, file)
    state, part = read_weights(str(file), URL, key="my.key"), nn.Linear(2, 1)
    load_submodule(part, state, prefix="net.", key="my.key")
    assert part.weight.tolist() == [[1, 1]]
    with pytest.raises(UserError, match="the weights that my.key names belong to another network"):
        load_submodule(nn.Linear(3, 1), state, prefix="net.", key="my.key")
    for content in ({"weight": torch.ones(1), "epoch": 3}, [torch.ones(1)]):
        torch.save(content, file)
        with pytest.raises(UserError, match=f"my.key={file} isn't a state dict"):
            read_weights(str(file), URL, key="my.key")
