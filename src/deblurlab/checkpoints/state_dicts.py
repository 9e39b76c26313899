"""Weights that other projects published: reading them, and finding the model that they belong to."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deblurlab import config
from deblurlab.checkpoints.recognition import check_finite, load_with_spandrel
from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.checkpoints.tensorflow import load_variables
from deblurlab.checkpoints.unpickle import Ignored
from deblurlab.config import instantiate
from deblurlab.config.networks import network_node
from deblurlab.errors import UserError, first_sentence, list_first

_WRAPPER_KEYS = (
    "params_ema", "state_dict_ema", "model_ema", "ema", "params", "state_dict", "model_state_dict", "model", "net_g",
    "netG", "G", "generator", "net",
)  # fmt: skip
"""Keys under which projects store their state dicts, in the order of preference."""
_PARALLEL = "module."
"""Prefix of all names of a network that was trained in parallel."""
_GENERATORS = "net_g.", "netG.", "generator.", "model.", "net."
"""Prefixes of a generator's names among those of the networks of a module."""
_COMPILED = "_orig_mod."
"""Part of the names of modules that torch.compile has wrapped."""


def read_weights_file(path: Path) -> Any:
    """Return the content of a file of weights: tensors, plain data and `Ignored`. Nothing in it is executed.

    Raises:
        UserError: The file is missing, can't be read or is something else.
    """
    try:
        return load_variables(path) if path.suffix.lower() == ".npz" else load_tensors(path, ignore_objects=True)
    except (OSError, MemoryError) as error:
        raise UserError(f"{path} can't be read ({error})") from error
    except Exception as error:  # any error for a damaged or hostile file
        raise UserError(f"{path} can't be read as weights: {first_sentence(error)}") from error


def load_published(content: Any, file: Path) -> nn.Module:
    """Return the network that the weights in a file of another project belong to.

    Args:
        content: Content of the file, see `read_weights_file`.
        file: The file, for messages.

    Raises:
        UserError: There is no state dict, its network isn't recognised, or can't restore images.
    """
    states = state_dicts(content, file)
    models = find_models(states)
    if len(models) > 1:
        raise UserError(
            f"{file} fits several models, {', '.join(models)}, which compute different results: choose one with "
            f"deblurlab weights convert {file} --model {next(iter(models))}"
        )
    for option, node in models.items():
        network: nn.Module = instantiate(network_node(node))
        network.load_state_dict(fit_weights(states, network, file, f"model={option}"))
        return network
    for state in states[:-1]:
        with suppress(UserError):
            return load_with_spandrel(state, file)
    return load_with_spandrel(states[-1], file)


def state_dicts(content: Any, file: Path) -> list[dict[str, Tensor]]:
    """Return the state dict in a project's file: with its names, then also without one prefix after another.

    A prefix may be that of a wrapper or belong to the network itself. Which one it is shows when the names are compared
    with those of a network.

    Raises:
        UserError: There is no state dict.
    """
    for _ in _WRAPPER_KEYS:
        if isinstance(content, Mapping):
            kinds = (Mapping, Ignored)
            content = next((content[key] for key in _WRAPPER_KEYS if isinstance(content.get(key), kinds)), content)
    if isinstance(content, Ignored):
        raise UserError(
            f"{file} holds an object of the class {type(content).__name__:.100}, which isn't loaded because that runs "
            f"its code: save its state_dict() with the original code"
        )
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{file} holds no state dict, neither at the top level nor under {', '.join(_WRAPPER_KEYS)}")
    states = [{str(name).replace(_COMPILED, ""): value for name, value in content.items() if isinstance(value, Tensor)}]
    while (stripped := _without_prefix(states[-1])) is not None:
        states.append(stripped)
    return states


def rename_keys(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return an original state dict with the names of our network, without entries that it doesn't use.

    Args:
        state: State dict with the original names.
        network: Has the class attribute `key_renamings`, pairs of a regular expression and its replacement. Names that
            become empty are left out.
    """
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in getattr(network, "key_renamings", ()):
            name = re.sub(pattern, replacement, name)
        if name:
            renamed[name] = value
    return renamed


def fit_weights(states: Sequence[Mapping[str, Tensor]], network: nn.Module, file: Path, name: str) -> dict[str, Tensor]:
    """Return an original state dict as one that a network loads.

    Args:
        states: State dict with the original names or those of the network, see `state_dicts`. The first one whose names
            fit is used.
        network: The network.
        file: The file of the weights, for messages.
        name: The network's name, for messages.

    Raises:
        UserError: Names, shapes or types don't fit, or a number isn't finite.
    """
    expected = network.state_dict()
    renamed = [_rename_to(state, network, expected) for state in states]
    weights = next((each for each in renamed if each.keys() == expected.keys()), renamed[-1])
    common = expected.keys() & weights.keys()
    differences = {
        "missing": expected.keys() - weights.keys(),
        "unknown": weights.keys() - expected.keys(),
        "of another shape": {key for key in common if expected[key].shape != weights[key].shape},
    }
    listed = [f"{kind}: {list_first(sorted(keys), 5)}" for kind, keys in differences.items() if keys]
    if listed:
        raise UserError(f"{file} doesn't fit {name}; {'; '.join(listed)}")
    for key, value in weights.items():
        if not expected[key].is_floating_point():
            weights[key] = _to_integer(value, expected[key].dtype, key, file)
    check_finite({key: value for key, value in weights.items() if expected[key].is_floating_point()}, file)
    return weights


def find_models(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Any]:
    """Return the options of conf/model whose networks have the names and shapes of one of these state dicts.

    Returns:
        The options with their config nodes.
    """
    found = {}
    for option in config.options("model"):
        node = config.to_plain(config.compose(f"model={option}").model)
        try:
            with torch.device("meta"):
                network = instantiate(network_node(node))
        except UserError:  # a package of the network isn't installed
            continue
        expected = network.state_dict()
        shapes = _shapes(expected)
        if any(_shapes(_rename_to(state, network, expected)) == shapes for state in states):
            found[option] = original_node(node, network)
    return found


def original_node(node: Mapping[str, Any], network: nn.Module, given: Iterable[str] = ()) -> dict[str, Any]:
    """Return a model's config node with the arguments that give the results of the original code.

    Args:
        node: Config node of an option of conf/model.
        network: Its network.
        given: Keys that the user gave; they keep their values.
    """
    return {**node, **getattr(network, "original_arguments", {}), **{key: node[key] for key in given}}


def _rename_to(state: Mapping[str, Tensor], network: nn.Module, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Files from torch before 0.4.1 lack the counters of batch norm.
    counters = {name: torch.zeros_like(value, device="cpu") for name, value in expected.items() if _is_counter(name)}
    return counters | rename_keys(state, network)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the weights behind a prefix, without it; None if the names have none."""
    parallel = all(n.startswith(_PARALLEL) for n, value in state.items() if value.is_floating_point())
    for prefix in (_PARALLEL,) if parallel else _GENERATORS:
        if stripped := {n.removeprefix(prefix): value for n, value in state.items() if n.startswith(prefix)}:
            return stripped
    return None


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")


def _to_integer(value: Tensor, dtype: torch.dtype, name: str, file: Path) -> Tensor:
    """Return a counter or mask as the type that the network has: averages of weights make it floating-point."""
    converted = value.to(dtype)
    if value.is_complex() or not torch.equal(converted.to(value.dtype), value):
        raise UserError(f"{file} holds {name} as {value.dtype}, and not the whole numbers that the network has there")
    return converted
