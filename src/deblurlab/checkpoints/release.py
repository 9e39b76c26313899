"""Releases: weights in a form that is safe to distribute.

A release is a folder with `config.json` (class and arguments of the model, hash of the weights, metrics and their
protocol), `model.safetensors`, and for a run `README.md`, its model card: the layout of a model repository on the hub.
Earlier versions named the first two `release.json` and `weights.safetensors`. Reading one never executes code from it.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from omegaconf import OmegaConf
from torch import Tensor

from deblurlab.checkpoints import hub
from deblurlab.errors import UserError, first_sentence, printable
from deblurlab.runs.files import atomic_folder, write_json, write_text
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import is_inside, is_safe_relative_path, parse_json, read_yaml

_INDEX, _WEIGHTS, _CARD, _FORMAT = "config.json", "model.safetensors", "README.md", 1
_EARLIER_INDEX = "release.json"
_DTYPES = {"torch.float16", "torch.bfloat16", "torch.float32", "torch.float64", "torch.int64"}
_MAX_BYTES = 4 << 30
"""Maximum size of the weights. A sparse file can claim any size."""
_MAX_INDEX_BYTES = 16 << 20


def is_release(folder: Path) -> bool:
    """Return whether a folder has the index of a release."""
    return _index_file(folder).is_file()


def local_path(path: str | Path) -> Path:
    """Return the path of weights. `hf://owner/name[@revision]` is downloaded to the hub's cache, its index first.

    Raises:
        UserError: The address isn't valid, or the hub has no release there or can't be reached.
    """
    if not hub.is_address(path):
        return Path(path)
    _read_index(hub.download(str(path), {_INDEX: _MAX_INDEX_BYTES}), address=str(path))
    return hub.download(str(path), {_INDEX: _MAX_INDEX_BYTES, _WEIGHTS: _MAX_BYTES})


def release_run(folder: Path, run: Run, weights: Mapping[str, Tensor], card: str, *, half: bool = False) -> None:
    """Write a release of a finished run's generator with the run's results and its model card.

    Raises:
        UserError: The run hasn't finished, or the folder exists.
    """
    results = run.results()
    if results is None:
        raise UserError(f"{run.folder} holds no finished run: only a run with results can be released")
    write_release(folder, read_yaml(run.config_file)["model"], weights, {"run": results}, card=card, half=half)


def write_release(
    folder: Path,
    model: Any,
    weights: Mapping[str, Tensor],
    about: Mapping[str, Any],
    *,
    card: str | None = None,
    half: bool = False,
    check: Callable[[Path], object] | None = None,
) -> None:
    """Write a release.

    Args:
        folder: Folder to create.
        model: Config node of the model.
        weights: State dict.
        about: Provenance, added to the index.
        card: Text of README.md, if any.
        half: Store floating-point weights in 16 bits.
        check: Called with the folder before it gets its name; an error leaves none.

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
    }  # copies, since safetensors refuses weights that share memory
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
        if check is not None:
            check(temporary)
        if card is not None:
            write_text(temporary / _CARD, card)


def read_release(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the index and the weights of a release.

    Raises:
        UserError: A file is missing or damaged, or differs from the index.
    """
    index, file, sha256 = _read_index(folder)
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise UserError(f"{file} has more than {_MAX_BYTES >> 30} GiB: no release of deblurlab has")
        data = file.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise UserError(f"{file} can't be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UserError(
            f"{file} isn't the file that was released: its SHA-256 is {found}, not {printable(sha256, 64)}; download "
            f"or export it again"
        )
    try:
        weights = safetensors.torch.load(data)
    except Exception as error:  # also KeyError and TypeError, for dtypes and sizes that torch lacks
        raise UserError(f"{file} can't be read as weights: {first_sentence(error)}") from error
    if other := {str(tensor.dtype) for tensor in weights.values()} - _DTYPES:
        raise UserError(f"{file} holds tensors of {', '.join(sorted(other))}, which no weights are of")
    return index, weights


def _read_index(folder: Path, *, address: str | None = None) -> tuple[dict[str, Any], Path, str]:
    """Return a release's index, the path of its weights and their SHA-256.

    Args:
        folder: The release.
        address: Its address on the hub, for messages: the folder in the cache says nothing to the user.
    """
    path = _index_file(folder)
    shown = path if address is None else f"{address}/{path.name}"
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError(f"it has more than {_MAX_INDEX_BYTES >> 20} MiB")
        index = parse_json(path.read_text())
        version = index["format"]
        if type(version) is not int or version != _FORMAT:
            raise UserError(
                f"{address or folder} is a release of format {version!r:.50}, this version of deblurlab reads "
                f"{_FORMAT}: update deblurlab"
            )
        name, sha256 = _strings(index["weights"], "file", "sha256")
        _strings(index["model"], "class")
        if not isinstance(index["model"]["arguments"], dict):
            raise TypeError("the model's arguments aren't an object")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else first_sentence(error)
        raise UserError(
            f"{shown} isn't the index of a release of deblurlab ({reason}): deblurlab export writes releases, and "
            f"deblurlab weights convert does from published weights"
        ) from error
    file = folder / name
    is_safe = Path(name).name == name and is_safe_relative_path(name)
    if not is_safe or not (is_inside(file, folder) or hub.is_cached(folder, file)):
        raise UserError(f"{shown} names a file outside the release, {name!r:.100}: no release of deblurlab does")
    return index, file, sha256


def _index_file(folder: Path) -> Path:
    """Return the path of a release's index, which has another name in releases of earlier versions."""
    return next((file for name in (_INDEX, _EARLIER_INDEX) if (file := folder / name).is_file()), folder / _INDEX)


def _strings(node: Any, *keys: str) -> list[str]:
    """Return values of a JSON object.

    Raises:
        TypeError: A value isn't a string.
    """
    values = [node[key] for key in keys]
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{' or '.join(keys)} isn't a string")
    return values
