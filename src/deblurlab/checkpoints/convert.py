"""Weights that other projects have published, brought into this one's form."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from torch import Tensor

from deblurlab import config
from deblurlab.checkpoints.release import write_release
from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.errors import UserError, first_sentence, list_first
from deblurlab.models import Model

_WRAPPINGS = ("params_ema", "params", "state_dict", "model", "G", "generator")
"""Under which keys projects put their state dicts."""


def convert(file: Path, model: str, folder: Path) -> None:
    """Turn a checkpoint of an original project into a release.

    Args:
        file: As downloaded; read as tensors and plain data only.
        model: An option of conf/model; its class says how the original calls its weights.
        folder: Where the release goes.

    Raises:
        UserError: There is no such model, the file can't be read, or some of its names or shapes don't fit.
    """
    if model not in config.options("model"):
        raise UserError(f"there is no model {model}; known: {', '.join(config.options('model'))}")
    node = config.compose(f"model={model}").model
    network = instantiate(node, _convert_="all")
    try:
        content = load_tensors(file)
    except Exception as error:  # whatever a damaged or hostile file makes torch raise
        raise UserError(f"{file} can't be read as tensors and plain data: {first_sentence(error)}") from error
    counters = {n: v for n, v in network.state_dict().items() if n.endswith("num_batches_tracked")}  # younger than some
    weights = counters | rename_keys(unwrap_state_dict(content, file), network)
    _check_weights_fit(weights, network, file, model)
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    write_release(folder, node, weights, {"source": source})


def unwrap_state_dict(content: Any, file: Path) -> dict[str, Tensor]:
    """The state dict in what a project saved, without the prefix that data parallelism leaves.

    Raises:
        UserError: There is none.
    """
    for _ in _WRAPPINGS:
        if isinstance(content, Mapping):
            content = next((content[key] for key in _WRAPPINGS if isinstance(content.get(key), Mapping)), content)
    if not isinstance(content, Mapping) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{file} holds no state dict, neither by itself nor under {', '.join(_WRAPPINGS)}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return {name.removeprefix("module."): value for name, value in tensors.items()}


def rename_keys(state: Mapping[str, Tensor], network: Model) -> dict[str, Tensor]:
    """A state dict under the names of our network, without what it never uses."""
    found = {}
    for name, value in state.items():
        for pattern, replacement in network.key_renamings:
            name = re.sub(pattern, replacement, name)
        if name:
            found[name] = value
    return found


def _check_weights_fit(weights: Mapping[str, Tensor], network: Model, file: Path, model: str) -> None:
    own = network.state_dict()
    wrong = {
        "missing": own.keys() - weights.keys(),
        "not known": weights.keys() - own.keys(),
        "of another shape": {n for n in own.keys() & weights.keys() if own[n].shape != weights[n].shape},
    }
    complaints = [f"{what}: {list_first(sorted(names), 5)}" for what, names in wrong.items() if names]
    if complaints:
        raise UserError(f"{file} doesn't fit model={model}; {'; '.join(complaints)}")
