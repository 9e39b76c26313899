"""Networks that others have trained: torchvision's files, from the cache, the network or a path."""

import socket
from pathlib import Path

import torch
from torch import Tensor, nn

from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.errors import UserError, first_sentence


def read_weights(weights: str, url: str, *, key: str | None) -> dict[str, Tensor]:
    """A state dict: the file at `url`, from torch's cache or the network, if `weights` is "imagenet", else the file
    of that path. `key` is the setting that `weights` came from, if it can be set.

    Raises:
        UserError: It can't be had, or is no state dict. The message says which file to place where.
    """
    if weights != "imagenet":
        return read_state_dict(Path(weights), key=key)
    try:
        return _download(url)
    except Exception as error:  # whatever a missing network or a damaged file makes torch raise
        cache = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
        instead = "" if key is None else f", or give its path as {key}=<path>"
        raise UserError(f"{Path(url).name} can't be had ({error}): place {url} at {cache}{instead}") from error


def read_state_dict(path: Path, *, key: str | None) -> dict[str, Tensor]:
    """The state dict in a file.

    Raises:
        UserError: It can't be read, or holds anything else.
    """
    try:
        state = load_tensors(path)
    except Exception as error:  # whatever a damaged or hostile file makes torch raise
        raise UserError(f"weights can't be read from {key}={path}: {first_sentence(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{key}={path} isn't a state dict")
    return state


def load_submodule(part: nn.Module, state: dict[str, Tensor], *, prefix: str = "", key: str | None) -> None:
    """Put those weights of a larger network into a part of it whose names in it begin with `prefix`.

    Raises:
        UserError: Some are missing or differ in shape.
    """
    try:
        part.load_state_dict({name: state[prefix + name] for name in part.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"the weights that {key} names belong to another network: {error}") from error


def _download(url: str) -> dict[str, Tensor]:
    """torchvision's file; a network that doesn't answer is given 10 seconds."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(10)
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    finally:
        socket.setdefaulttimeout(before)
