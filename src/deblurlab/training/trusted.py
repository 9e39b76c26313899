"""Construction of the training module that a checkpoint records in its config."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from torch import Tensor

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.config import CONF, allow_targets, find_target
from deblurlab.errors import UserError
from deblurlab.runs.untrusted import is_trusted, trusted_names
from deblurlab.training.build import build
from deblurlab.training.module import Restoration

_BUILT = ("model", "discriminator", "loss", "optimizer", "scheduler", "module")
"""Nodes of a config that `build` instantiates."""


def load_recorded(path: Path, trust: Sequence[str]) -> tuple[Restoration, dict[str, Tensor]]:
    """Return the training module that a checkpoint records, with random weights, and the checkpoint's weights.

    Args:
        path: Checkpoint of a training.
        trust: Packages, classes and functions that the checkpoint may name besides those of deblurlab's own config, in
            addition to those of the environment variable DEBLURLAB_TRUST. They are imported and called.

    Raises:
        UserError: The checkpoint can't be read, records no config, or names something that isn't trusted.
    """
    content = read_checkpoint(path)
    record = content.get("record")
    if not isinstance(record, Mapping) or not {*_BUILT, "seed", "trainer"} <= record.keys():
        raise UserError(f"{path} records no config: load its weights into build(cfg), with the config of its training")
    _check_trusted([record[key] for key in _BUILT], path, trusted_names(trust))
    return build(OmegaConf.create({**record, "init": None})), content["state_dict"]


def _check_trusted(nodes: Any, path: Path, names: Sequence[str]) -> None:
    """Raise UserError if a target is neither in the shipped config nor trusted."""
    shipped = {
        target
        for file in CONF.rglob("*.yaml")
        for target in re.findall(r"_target_: *([\w.]+)", re.sub("#.*", "", file.read_text(encoding="utf-8")))
    }
    for target in dict.fromkeys(_targets(nodes)):
        if target in shipped:
            continue
        if not is_trusted(target, names):
            raise UserError(
                f"{path} names {target:.200}, which isn't part of deblurlab: loading it runs that code. If you trust "
                f"it, add trust=[{target[:200]!r}]"
            )
        allow_targets([target])
        module = getattr(find_target({"_target_": target}), "__module__", None)
        if target not in names and not is_trusted(str(module), names):
            raise UserError(f"{path} names {target:.200}, which is of {module!s:.200}: trust that, if you do")


def _targets(node: Any) -> Iterator[str]:
    """Yield all targets in nested nodes."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)
