"""Trained models out of runs, checkpoints and releases, which may be a stranger's."""

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from deblurlab import config
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.release import is_release, read_release
from deblurlab.checkpoints.safe_load import has_storage_for
from deblurlab.errors import UserError, first_sentence
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import read_yaml

_LARGEST = 4096
"""Maximum absolute value of an integer among a model's arguments."""
_RENAMED = {"widest": "max_width"}
"""Model arguments of releases and runs written before the rename, and their current names."""
_LOG = logging.getLogger(__name__)


def generator_weights(path: Path, *, exact: bool = False) -> dict[str, Tensor]:
    """The generator's state dict out of a checkpoint, a run's folder (its best checkpoint, else its last) or a release:
    the average of the weights where one was kept. A damaged best checkpoint is replaced by the last one, with a
    warning, unless it's `exact`: the weights that the run's results are of.

    Raises:
        UserError: There is no such thing, or it can't be read.
    """
    if is_release(path):
        return read_release(path)[1]
    return _weights(*_checkpoint(path, exact=exact))


def load_model(path: Path, *, trust: Sequence[str] = ()) -> nn.Module:
    """The trained generator of a run, a checkpoint or a release, ready to restore: built as its config says, which may
    name models of this package and classes in `trust`, and nothing else.

    Raises:
        UserError: There is no such thing, it can't be read, its weights don't fit, or it names another class.
    """
    node, weights = _opened(path)
    known = {target for group in config.options("model") if (target := _shipped(group))}
    named = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(named, str):
        raise UserError(f"{path} doesn't say which model its weights are of: init={path} takes them for one you choose")
    if named not in known | set(trust):
        raise UserError(
            f"{path} names {named:.200}, which is no model of deblurlab: --trust CLASS, or restorer.trust=[CLASS], "
            f"runs it anyway"
        )
    make = getattr(import_module(named.rpartition(".")[0]), named.rpartition(".")[2])
    # Arguments are data, whatever they look like; what the weights were before the training is of no interest.
    arguments = {
        _RENAMED.get(key, key): value for key, value in node.items() if key != "_target_" and not _of_weights(key)
    }
    try:
        if named in known:
            _check_weights_fit(make, arguments, weights, path)
        generator: nn.Module = make(**arguments)
    except UserError:
        raise
    except Exception as error:  # whatever wrong arguments make of it
        raise UserError(f"{path} describes a {named} that can't be made: {first_sentence(error)}") from error
    _load(generator, weights, path)
    return generator.eval()


def load_generator(generator: nn.Module, path: Path) -> None:
    """Put the weights of a checkpoint or run into a generator.

    Raises:
        UserError: They can't be read, or belong to another model.
    """
    _load(generator, generator_weights(path), path)


def _load(generator: nn.Module, weights: Mapping[str, Tensor], path: Path, *, assign: bool = False) -> None:
    try:
        generator.load_state_dict(weights, assign=assign)
    except RuntimeError as error:
        raise UserError(f"the weights of {path} belong to another model: {_first_mismatch(error)}") from error


def _checkpoint(path: Path, *, exact: bool = False) -> tuple[Path, dict[str, Any]]:
    """The checkpoint that is meant, and its content."""
    if not path.is_dir():
        return path, read_checkpoint(path)
    run = Run(path)
    kept = run.best_checkpoint, run.last_checkpoint, run.previous_checkpoint
    found = [file for file in kept if file.is_file()][: 1 if exact else None]
    if not found:
        raise UserError(f"{path} is neither a release nor a run with a checkpoint ({run.best_checkpoint})")
    for file, following in pairwise(found):
        try:
            return file, read_checkpoint(file)
        except UserError as error:
            _LOG.warning("%s. %s is taken instead.", error, following)
    return found[-1], read_checkpoint(found[-1])


def _weights(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The generator's state dict out of a checkpoint."""
    prefix = "generator."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if str(k).startswith(prefix)}
    callbacks = content.get("callbacks")
    ema = callbacks.get("EMA") if isinstance(callbacks, dict) else None
    if isinstance(ema, dict) and ema.get("updates") and isinstance(ema.get("average"), dict):
        weights |= ema["average"]
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} holds no generator")
    if not has_storage_for(weights.values()):
        raise UserError(f"{path} holds weights that are larger than their bytes")
    return weights


def _opened(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """What is said of a model, `{"_target_": ..., **arguments}` if it's an honest file's, and its weights."""
    if is_release(path):
        index, weights = read_release(path)
        return {**index["model"]["arguments"], "_target_": index["model"]["class"]}, weights
    if path.is_dir() and not Run(path).config_file.is_file():
        raise UserError(f"{path} is neither a run nor a release")
    file, content = _checkpoint(path)
    record = read_yaml(Run(path).config_file) if path.is_dir() else content.get("record")
    return record.get("model") if isinstance(record, dict) else None, _weights(file, content)


def _shipped(option: str) -> Any:
    return OmegaConf.select(OmegaConf.load(config.CONF / "model" / f"{option}.yaml"), "_target_")


def _check_weights_fit(
    make: Callable[..., nn.Module], arguments: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path
) -> None:
    """Give up on a model that isn't the one whose weights these are before it takes memory or time."""
    for key, value in arguments.items():
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, (int, float, str, type(None))) or (isinstance(one, int) and abs(one) > _LARGEST):
                raise ValueError(f"its argument {_short(key)} is no plain value of a model, but {_short(one)}")
    count = 0

    def counted(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += 1
        if count > len(weights):
            raise ValueError("its arguments describe a larger model than there are weights for")

    handle = register_module_parameter_registration_hook(counted)
    try:
        with torch.device("meta"):
            model = make(**arguments)
    finally:
        handle.remove()
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if shapes != {name: value.shape for name, value in weights.items()}:
        _load(model, weights, path, assign=True)  # which says what differs


def _short(value: Any) -> str:
    """Never a container: a few bytes can stand for one that is gigabytes when written out."""
    return f"{value!s:.50}" if isinstance(value, (int, str)) else f"of type {type(value).__name__}"


def _of_weights(key: Any) -> bool:
    return isinstance(key, str) and key.endswith("_weights")


def _first_mismatch(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1] if len(lines) > 1 else lines[0]
