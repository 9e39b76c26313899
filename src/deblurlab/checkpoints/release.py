"""Released models: weights that travel between strangers. Loading one runs no code of the file's maker.

A release is a folder with `release.json` (which model with which arguments, the hash of its weights, scores and their
protocol) and `weights.safetensors`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from omegaconf import OmegaConf
from torch import Tensor

from deblurlab.errors import UserError, first_sentence
from deblurlab.runs.files import atomic_folder, write_json
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import is_inside, is_safe_relative_path, parse_json, read_yaml

_INDEX, _WEIGHTS, _FORMAT = "release.json", "weights.safetensors", 1
_DTYPES = {"torch.float16", "torch.bfloat16", "torch.float32", "torch.float64", "torch.int64"}
_MOST = 4 << 30
"""Bytes of weights; a file that is all holes may claim any number."""


def is_release(folder: Path) -> bool:
    """Whether a folder claims to be one."""
    return (folder / _INDEX).is_file()


def release_run(folder: Path, run: Run, weights: Mapping[str, Tensor], *, half: bool = False) -> None:
    """Release a finished run's generator with its scores.

    Raises:
        UserError: The run hasn't finished, or the folder exists.
    """
    results = run.results()
    if results is None:
        raise UserError(f"{run.folder} holds no finished run: only what has been scored is released")
    write_release(folder, read_yaml(run.config_file)["model"], weights, {"run": results}, half=half)


def write_release(
    folder: Path, model: Any, weights: Mapping[str, Tensor], about: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write a release: `model` is its config node, `about` says where the weights come from; `half` keeps 16 bits.

    Raises:
        UserError: The folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already: choose another with -o")
    arguments: Any = OmegaConf.to_container(OmegaConf.create(model))
    content = {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).clone(
            memory_format=torch.contiguous_format
        )
        for name, tensor in weights.items()
    }  # copies, since safetensors doesn't write weights that several layers share
    data = safetensors.torch.save(content)
    index = {
        "format": _FORMAT,
        "model": {"class": arguments.pop("_target_"), "arguments": arguments},
        "weights": {"file": _WEIGHTS, "sha256": hashlib.sha256(data).hexdigest()},
        **about,
    }
    with atomic_folder(folder) as temporary:
        (temporary / _WEIGHTS).write_bytes(data)
        write_json(temporary / _INDEX, index)


def read_release(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A release's index and its weights.

    Raises:
        UserError: A file is missing, damaged or not what the index says.
    """
    try:
        index = parse_json((folder / _INDEX).read_text())
        known = index["format"]
        if type(known) is not int or known != _FORMAT:
            raise UserError(f"{folder} is a release of format {known!r:.50}, this version of deblurlab reads {_FORMAT}")
        name, wanted = _texts(index["weights"], "file", "sha256")
        _texts(index["model"], "class")
        if not isinstance(index["model"]["arguments"], dict):
            raise TypeError("the model's arguments aren't an object")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / _INDEX} isn't the index of a release: {first_sentence(error)}") from error
    if Path(name).name != name or not is_safe_relative_path(name) or not is_inside(folder / name, folder):
        raise UserError(f"{folder / _INDEX} names a file outside the release: {name}")
    try:
        if (folder / name).stat().st_size > _MOST:
            raise UserError(f"{folder / name} has more than {_MOST >> 30} GiB: no release of deblurlab has")
        data = (folder / name).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no file has such a name
        raise UserError(f"{folder / name} can't be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise UserError(f"{folder / name} isn't the file that was released: its SHA-256 is {found}, not {wanted}")
    try:
        weights = safetensors.torch.load(data)
    except Exception as error:  # also KeyError and TypeError, for kinds and sizes that torch doesn't have
        raise UserError(f"{folder / name} can't be read as weights: {first_sentence(error)}") from error
    if other := {str(tensor.dtype) for tensor in weights.values()} - _DTYPES:
        raise UserError(f"{folder / name} holds tensors of {', '.join(sorted(other))}, which no weights are of")
    return index, weights


def _texts(of: Any, *keys: str) -> list[str]:
    """Entries of an object that are texts."""
    found = [of[key] for key in keys]
    if not all(isinstance(value, str) for value in found):
        raise TypeError(f"{' or '.join(keys)} isn't a text")
    return found
