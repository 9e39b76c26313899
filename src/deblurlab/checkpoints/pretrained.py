"""Pretrained weights of torchvision, from torch's cache, a download or a path."""

import socket
from pathlib import Path

import torch
from torch import Tensor, nn

from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.errors import UserError, first_sentence

_TIMEOUT = 10.0
"""Seconds to wait for an answer of the network."""


def read_weights(weights: str, url: str, *, key: str | None) -> dict[str, Tensor]:
    """Return a state dict of pretrained weights.

    Args:
        weights: "imagenet" for the file at `url`, from torch's cache or downloaded; otherwise a path.
        url: Address of torchvision's file, with a hash in its name.
        key: Config key of `weights`, for error messages; None if the user can't set it.

    Raises:
        UserError: The file is unavailable or isn't a state dict. The message says which file to store where.
    """
    if weights != "imagenet":
        return read_state_dict(Path(weights), key=key)
    try:
        return _download(url)
    except Exception as error:  # any error of torch for a missing network or a damaged file
        cache = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
        alternative = "" if key is None else f", or give its path as {key}=<path>"
        raise UserError(f"{Path(url).name} is unavailable ({error}): place {url} at {cache}{alternative}") from error


def read_state_dict(path: Path, *, key: str | None) -> dict[str, Tensor]:
    """Return the state dict in a file.

    Raises:
        UserError: The file can't be read or isn't a state dict.
    """
    try:
        state = load_tensors(path)
    except Exception as error:  # any error of torch for a damaged or hostile file
        raise UserError(f"weights can't be read from {key}={path}: {first_sentence(error)}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{key}={path} isn't a state dict")
    return state


def load_submodule(part: nn.Module, state: dict[str, Tensor], *, prefix: str = "", key: str | None) -> None:
    """Load weights of a larger network into one of its submodules.

    Args:
        part: The submodule.
        state: State dict of the larger network.
        prefix: Prefix of the submodule's names in `state`.
        key: Config key of the weights, for error messages.

    Raises:
        UserError: A weight is missing or has another shape.
    """
    try:
        part.load_state_dict({name: state[prefix + name] for name in part.state_dict()})
    except (KeyError, RuntimeError) as error:
        raise UserError(f"the weights that {key} names belong to another network: {error}") from error


def _download(url: str) -> dict[str, Tensor]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    finally:
        socket.setdefaulttimeout(before)
