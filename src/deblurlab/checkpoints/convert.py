"""Conversion of weights that other projects published into releases."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException

from deblurlab import config
from deblurlab.checkpoints.load import load_model
from deblurlab.checkpoints.published import fit_weights, original_node, read_weights_file, state_dicts
from deblurlab.checkpoints.release import write_release
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
    except HydraException as error:
        raise UserError(f"{' '.join(arguments)} isn't possible for model={model}: {first_sentence(error)}") from error
    network = instantiate(network_node(node))
    states = state_dicts(read_weights_file(file), file)
    weights = fit_weights(states, network, file, " ".join(overrides))
    source = {"file": file.name, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    write_release(folder, original_node(node, network, given), weights, {"source": source}, check=load_model)
