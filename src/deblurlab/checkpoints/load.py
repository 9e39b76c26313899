"""Trained models from run folders, checkpoints and releases, all of which may be untrusted."""

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
from deblurlab.checkpoints.file_kinds import describe_folder
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.release import is_release, local_path, read_release
from deblurlab.checkpoints.safe_load import has_storage_for
from deblurlab.checkpoints.state_dicts import fit_weights, load_published, read_weights_file, state_dicts
from deblurlab.checkpoints.trusted import build_trusted, without_pretrained
from deblurlab.config.networks import set_attributes, split_attributes
from deblurlab.errors import UserError, first_sentence, printable
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import read_yaml

_MAX_ARGUMENT = 4096
"""Maximum absolute value of an integer among a model's arguments."""
_RENAMED_ARGUMENTS = {"widest": "max_width"}
"""Model arguments in releases and runs written before a rename, and their current names."""
_WEIGHTS_FILES = {"model.safetensors", "weights.safetensors"}
"""Names of the weights in a release, also of earlier versions."""
EMA_STATE = "EMA"
"""Key of the averaged weights among a checkpoint's callback states."""
_LOG = logging.getLogger(__name__)


def generator_weights(path: Path, *, exact: bool = False) -> dict[str, Tensor]:
    """Return the generator's state dict from a checkpoint, a run folder or a release.

    The exponential moving average of the weights is preferred where a checkpoint has one. Of a run, the best checkpoint
    is read; if it is damaged, the last one, with a warning.

    Args:
        path: Checkpoint, run folder or release.
        exact: Don't replace a damaged best checkpoint: the run's results belong to that one.

    Raises:
        UserError: The weights are missing or can't be read.
    """
    if is_release(path):
        return read_release(path)[1]
    return _select_weights(*_read_best_checkpoint(path, exact=exact))


def load_model(path: str | Path, *, trust: Sequence[str] = ()) -> nn.Module:
    """Return the trained generator of a run, a checkpoint or a release, in evaluation mode.

    Args:
        path: Checkpoint, run folder or release, weights that another project published, or
            `hf://owner/name[@revision]` for a release on the hub.
        trust: Packages and classes that the file may name besides the models of this package, in addition to those of
            the environment variable DEBLURLAB_TRUST. They are imported and called.

    Raises:
        UserError: The file is missing or can't be read, its weights don't fit, or it names another class.

    Example:
        >>> from deblurlab.inference.bundled import weights_folder
        >>> network = load_model(weights_folder("fidelity"))
        >>> network(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 3, 50, 70])
    """
    path = _folder_of_release(local_path(path))
    content = read_weights_file(path) if path.is_file() else None
    if content is not None and not _is_checkpoint(content):
        return load_published(content, path).eval()
    node, weights = _read_model(path, content)
    target = node.get("_target_") if isinstance(node, Mapping) else None
    if not isinstance(target, str):
        raise UserError(f"{path} doesn't name the model of its weights: init={path} loads them into a model you choose")
    try:
        generator = _build(node, weights, path) if target in _known_classes() else build_trusted(node, trust, path)
    except UserError:
        raise
    except Exception as error:  # any error of a constructor for wrong arguments
        raise UserError(f"{path} describes a {target} that can't be built: {first_sentence(error)}") from error
    _load(generator, weights, path)
    return generator.eval()


def load_generator(generator: nn.Module, path: str | Path) -> str:
    """Load the weights of a checkpoint, a run, a release or another project into a generator.

    Returns:
        Which ones, for a message.

    Raises:
        UserError: The weights can't be read or belong to another model.
    """
    path = _folder_of_release(local_path(path))
    if is_release(path):
        _load(generator, read_release(path)[1], path)
        return str(path)
    if path.is_file() and not _is_checkpoint(content := read_weights_file(path)):
        states = state_dicts(content, path)
        generator.load_state_dict(fit_weights(states, generator, path, f"the model {type(generator).__name__}"))
        original = getattr(generator, "original_arguments", {})
        settings = " ".join(f"model.{key}={value}" for key, value in original.items())
        return f"{path}; its project's own results need {settings}" if settings else str(path)
    file, content = (path, content) if path.is_file() else _read_best_checkpoint(path)
    _load(generator, _select_weights(file, content), path)
    step = content.get("global_step")
    return f"{file} at step {step}" if isinstance(step, int) else str(file)


def _load(generator: nn.Module, weights: Mapping[str, Tensor], path: Path, *, assign: bool = False) -> None:
    try:
        generator.load_state_dict(weights, assign=assign)
    except RuntimeError as error:
        raise UserError(f"the weights of {path} belong to another model: {_first_mismatch(error)}") from error


def _read_best_checkpoint(path: Path, *, exact: bool = False) -> tuple[Path, dict[str, Any]]:
    """Return the path and content of a checkpoint, or of a run's best readable checkpoint."""
    if not path.is_dir():
        return path, read_checkpoint(path)
    run = Run(path)
    candidates = run.best_checkpoint, run.last_checkpoint, run.previous_checkpoint
    found = [file for file in candidates if file.is_file()][: 1 if exact else None]
    if not found:
        raise UserError(f"{path} is neither a release nor a run with a checkpoint ({run.best_checkpoint})")
    for file, following in pairwise(found):
        try:
            return file, read_checkpoint(file)
        except UserError as error:
            _LOG.warning("%s. %s is used instead.", error, following)
    return found[-1], read_checkpoint(found[-1])


def _select_weights(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the generator's state dict from a checkpoint's content, averaged weights first."""
    prefix = "generator."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if str(k).startswith(prefix)}
    callbacks = content.get("callbacks")
    ema = callbacks.get(EMA_STATE) if isinstance(callbacks, dict) else None
    if isinstance(ema, dict) and ema.get("updates") and isinstance(ema.get("average"), dict):
        weights |= ema["average"]
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} holds no generator")
    if not has_storage_for(weights.values()):
        raise UserError(f"{path} holds weights that are larger than their bytes")
    return weights


def _is_checkpoint(content: Any) -> bool:
    """Return whether the content of a file is a checkpoint of deblurlab."""
    return isinstance(content, dict) and bool({"record", "pytorch-lightning_version"} & content.keys())


def _folder_of_release(path: Path) -> Path:
    """Return the release that a path leads into, instead of the file of its weights."""
    return path.parent if path.name in _WEIGHTS_FILES and path.is_file() and is_release(path.parent) else path


def _read_model(path: Path, content: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return a model's config node, `{"_target_": ..., **arguments}` in a valid file, and its weights.

    Args:
        path: Release, run folder or checkpoint.
        content: Content of the checkpoint; None for folders.
    """
    if is_release(path):
        index, weights = read_release(path)
        return {**index["model"]["arguments"], "_target_": index["model"]["class"]}, weights
    if path.is_dir() and not Run(path).config_file.is_file():
        raise UserError(f"{path} is neither a run nor a release: {describe_folder(path)}")
    file, content = _read_best_checkpoint(path) if content is None else (path, content)
    record = read_yaml(Run(path).config_file) if path.is_dir() else content.get("record")
    return record.get("model") if isinstance(record, dict) else None, _select_weights(file, content)


def _known_classes() -> set[Any]:
    """Return the classes of conf/model."""
    files = (config.CONF / "model" / f"{option}.yaml" for option in config.options("model"))
    return {OmegaConf.select(OmegaConf.load(file), "_target_") for file in files} - {None}


def _build(node: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Build a model of this package. Its arguments stay plain data, even if they look like config nodes."""
    module, _, name = node["_target_"].rpartition(".")
    factory = getattr(import_module(module), name)
    arguments = {_RENAMED_ARGUMENTS.get(key, key): value for key, value in without_pretrained(node).items()}
    arguments, attributes = split_attributes(factory, arguments)
    _check_weights_fit(factory, arguments, weights, path)
    network: nn.Module = set_attributes(factory(**arguments), attributes)
    return network


def _check_weights_fit(
    factory: Callable[..., nn.Module], arguments: Mapping[str, Any], weights: Mapping[str, Tensor], path: Path
) -> None:
    """Raise an error if the arguments describe a model with other weights, before it takes memory or time."""
    for key, value in arguments.items():
        for item in value if isinstance(value, list) else [value]:
            if not isinstance(item, (int, float, str, type(None))) or (
                isinstance(item, int) and abs(item) > _MAX_ARGUMENT
            ):
                raise ValueError(f"its argument {_short(key)} isn't a plain value of a model: {_short(item)}")
    count = 0

    def count_parameter(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += 1
        if count > len(weights):
            raise ValueError("its arguments describe a larger model than there are weights for")

    handle = register_module_parameter_registration_hook(count_parameter)
    try:
        with torch.device("meta"):
            model = factory(**arguments)
    finally:
        handle.remove()
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    if shapes != {name: value.shape for name, value in weights.items()}:
        _load(model, weights, path, assign=True)  # raises an error that names the difference


def _short(value: Any) -> str:
    """Return a short text. Containers aren't written out: a few bytes of pickle can represent a text of gigabytes."""
    return f"{value!s:.50}" if isinstance(value, (int, str)) else f"of type {type(value).__name__}"


def _first_mismatch(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return printable(lines[1] if len(lines) > 1 else lines[0], 300)
