"""Files of weights: written whole or not at all, read without running code."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from deblurlab import conf
from deblurlab.errors import UserError, reason
from deblurlab.releases import is_release, read_release
from deblurlab.runs import Run


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all: written beside their place, flushed to the disk, then renamed.

    Raises:
        UserError: On saving: the disk is full or the folder can't be written. On loading: the file is damaged or holds
            more than tensors and plain data.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        path = Path(path)
        partial = path.with_name(f".{path.name}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            if os.name == "posix":  # elsewhere a folder can't be flushed
                folder = os.open(path.parent, os.O_RDONLY)
                os.fsync(folder)
                os.close(folder)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            partial.unlink(missing_ok=True)
            raise UserError(
                f"the checkpoint {path} couldn't be written ({error}): is the disk full, or the folder read-only? "
                f"Older checkpoints are as they were; the same command goes on from there"
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU; tensors and plain data only.

    Raises:
        UserError: The file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} can't be read as a checkpoint: {reason(error)}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{path} isn't a checkpoint of deblurlab: it has no state_dict")
    return content


def generator_weights(path: Path) -> dict[str, Tensor]:
    """The generator's state dict out of a checkpoint, a run's folder (its best checkpoint, else its last) or a release:
    the average of the weights where one was kept.

    Raises:
        UserError: There is no such thing, or it can't be read.
    """
    if is_release(path):
        return read_release(path)[1]
    if path.is_dir():
        run = Run(path)
        found = [file for file in (run.best_checkpoint, run.last_checkpoint) if file.is_file()]
        if not found:
            raise UserError(f"{path} is neither a release nor a run with a checkpoint ({run.best_checkpoint})")
        path = found[0]
    content = read_checkpoint(path)
    prefix = "generator."
    weights = {k.removeprefix(prefix): v for k, v in content["state_dict"].items() if k.startswith(prefix)}
    if not weights:
        raise UserError(f"{path} holds no generator")
    for name, state in content.get("callbacks", {}).items():
        if name == "EMA" and state["updates"]:
            weights |= state["average"]
    return weights


def load_model(path: Path, *, trust: Sequence[str] = ()) -> nn.Module:
    """The trained generator of a run, a checkpoint or a release, ready to restore: built as its config says, which may
    name models of this package and classes in `trust`, and nothing else.

    Raises:
        UserError: There is no such thing, it can't be read, its weights don't fit, or it names another class.
    """
    if is_release(path):
        model = read_release(path)[0]["model"]
        node: Any = {"_target_": model["class"], **model["arguments"]}
    elif path.is_dir():
        if not Run(path).config_file.is_file():
            raise UserError(f"{path} is neither a run nor a release")
        node = OmegaConf.to_container(OmegaConf.load(Run(path).config_file).model, resolve=True)
    else:
        node = read_checkpoint(path).get("record", {}).get("model")
    files = [conf.CONF / "model" / f"{name}.yaml" for name in conf.options("model")]
    known = {OmegaConf.select(OmegaConf.load(file), "_target_") for file in files}
    if not isinstance(node, dict) or node.get("_target_") not in known | set(trust):
        named = node.get("_target_") if isinstance(node, dict) else None
        raise UserError(
            f"{path} names {named}, which is no model of deblurlab: restorer.trust=[{named}] runs it anyway"
        )
    generator: nn.Module = instantiate(node, _convert_="all")
    load_generator(generator, path)
    return generator.eval()


def load_generator(generator: nn.Module, path: Path) -> None:
    """Put the weights of a checkpoint or run into a generator.

    Raises:
        UserError: They can't be read, or belong to another model.
    """
    try:
        generator.load_state_dict(generator_weights(path))
    except RuntimeError as error:
        raise UserError(f"the weights of {path} belong to another model: {_first_mismatch(error)}") from error


def _first_mismatch(error: RuntimeError) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1] if len(lines) > 1 else lines[0]
