"""Conversion of weights that other projects published into releases."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.errors import HydraException, InstantiationException

from deblurlab import config
from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.release import write_release
from deblurlab.checkpoints.state_dicts import fit_weights, original_node, read_weights_file, state_dicts
from deblurlab.config import instantiate
from deblurlab.config.networks import ATTRIBUTES, network_node
from deblurlab.errors import UserError, first_sentence


def convert(file: Path, model: str, folder: Path, arguments: Sequence[str] = ()) -> None:
    """Convert a checkpoint of an original project into a release.

    Args:
        file: The downloaded file: of `torch.save`, of safetensors, or an `.npz` file of a TensorFlow checkpoint's
            variables. Only tensors and plain data are read.
        model: Option of conf/model. Its class has the renamings of the original names, `key_renamings`, and the
            arguments that give the original results, `original_arguments`.
        folder: Folder of the release.
        arguments: Other arguments of the model, such as `width=64`.

    Raises:
        UserError: The model or an argument doesn't exist, the file can't be read, or its weights don't fit the model.
    """
    if model not in config.options("model"):
        raise UserError(f"there is no model {model}; known: {', '.join(config.options('model'))}")
    given = dict(argument.lstrip("+").partition("=")[::2] for argument in arguments)
    added = [f"{'++' if key in ATTRIBUTES else ''}model.{key}={value}" for key, value in given.items()]
    overrides = [f"model={model}", *added]
    try:
        node = config.to_plain(config.compose(*overrides).model)
        with torch.device("meta"):  # a wrong size of the network takes no memory
            network = instantiate(network_node(node))
    except HydraException as error:
        if not arguments:
            raise
        own = error.__cause__ if isinstance(error, InstantiationException) else None
        cause = first_sentence(own or error).rstrip(".")
        known = config.to_plain(config.compose(f"model={model}").model)
        values = ", ".join(f"{key}={value}" for key, value in known.items() if key != "_target_")
        raise UserError(
            f"--set {' '.join(arguments)} isn't possible for model={model}: {cause}; its arguments are {values}"
        ) from error
    states = state_dicts(read_weights_file(file), file)
    weights = fit_weights(states, network, file, " ".join(overrides))
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    write_release(folder, original_node(node, network, given), weights, {"source": source}, check=load_model)
