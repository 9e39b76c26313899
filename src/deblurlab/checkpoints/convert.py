"""Conversion of weights that other projects published into releases."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from deblurlab import config
from deblurlab.checkpoints.release import write_release
from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.checkpoints.tensorflow import load_variables
from deblurlab.config import instantiate
from deblurlab.errors import UserError, first_sentence, list_first

_WRAPPER_KEYS = ("params_ema", "params", "state_dict", "model", "G", "generator")
"""Keys under which projects store their state dicts."""


def convert(file: Path, model: str, folder: Path) -> None:
    """Convert a checkpoint of an original project into a release.

    Args:
        file: The downloaded file, or an `.npz` file of a TensorFlow checkpoint's variables. Only tensors and plain data
            are read.
        model: Option of conf/model. Its class has the renamings of the original names, `key_renamings`, and the
            arguments that give the original results, `original_arguments`.
        folder: Folder of the release.

    Raises:
        UserError: The model doesn't exist, the file can't be read, or names or shapes don't fit the model.
    """
    if model not in config.options("model"):
        raise UserError(f"there is no model {model}; known: {', '.join(config.options('model'))}")
    node = config.compose(f"model={model}").model
    network = instantiate(node)
    try:
        content = load_variables(file) if file.suffix == ".npz" else load_tensors(file)
    except Exception as error:  # any error of torch for a damaged or hostile file
        raise UserError(f"{file} can't be read as tensors and plain data: {first_sentence(error)}") from error
    # Files from torch before 0.4.1 lack the counters of batch norm.
    counters = {n: v for n, v in network.state_dict().items() if n.endswith("num_batches_tracked")}
    weights = counters | rename_keys(unwrap_state_dict(content, file), network)
    _check_weights_fit(weights, network, file, model)
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    original = getattr(network, "original_arguments", {})
    write_release(folder, {**node, **original}, weights, {"source": source})


def unwrap_state_dict(content: Any, file: Path) -> dict[str, Tensor]:
    """Return the state dict in a project's file, without the prefix `module.` of data parallelism.

    Raises:
        UserError: There is no state dict.
    """
    for _ in _WRAPPER_KEYS:
        if isinstance(content, Mapping):
            content = next((content[key] for key in _WRAPPER_KEYS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{file} holds no state dict, neither at the top level nor under {', '.join(_WRAPPER_KEYS)}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return {name.removeprefix("module."): value for name, value in tensors.items()}


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


def _check_weights_fit(weights: Mapping[str, Tensor], network: nn.Module, file: Path, model: str) -> None:
    expected = network.state_dict()
    common = expected.keys() & weights.keys()
    differences = {
        "missing": expected.keys() - weights.keys(),
        "unknown": weights.keys() - expected.keys(),
        "of another shape": {name for name in common if expected[name].shape != weights[name].shape},
    }
    listed = [f"{kind}: {list_first(sorted(names), 5)}" for kind, names in differences.items() if names]
    if listed:
        raise UserError(f"{file} doesn't fit model={model}; {'; '.join(listed)}")
