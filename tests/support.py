"""Helper functions of the tests."""

import copy
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from scipy.ndimage import convolve

from deblurlab.checkpoints.release import write_release
from deblurlab.cli.data import data
from deblurlab.config import compose, instantiate
from deblurlab.config import options as option_names
from deblurlab.errors import UserError

if TYPE_CHECKING:
    from deblurlab.dataloading import DataModule  # loads Lightning, which most tests don't need

__all__ = [
    "SMALL",
    "Server",
    "blurred",
    "config",
    "data_command",
    "feeding",
    "option_names",
    "served",
    "small",
    "small_release",
]

_SMALL_ARGUMENTS = {
    "model": {
        "UNet": "width=4 depth=1 blocks=1",
        "UNetRes": "width=4 depth=1 blocks=1",
        "ResNet": "width=8 blocks=2",
        "DeepDeblur": "width=8 blocks=2",
        "SRN": "width=4 blocks=1",
        "NAFNet": "width=4 encoder=[1,1,1,2]",
        "MIMOUNetPlus": "width=16 blocks=1",
        "Restormer": "width=16 blocks=[1,1,1,1] refinement=1",
        "FPNMobileNet": "pyramid=16 width=8",
        "FPNInception": "pyramid=16 width=8",
    },
    "discriminator": {"PatchGAN": "width=4 n_layers=1", "Double": "width=4 patch_layers=1 full_layers=2"},
}
"""Arguments that shrink a network, by group and class; other classes have `width`."""


@functools.cache
def _composed(overrides: tuple[str, ...], name: str) -> DictConfig:
    return compose(*overrides, name=name)


def config(*overrides: str, name: str = "train") -> DictConfig:
    """Return what `deblurlab.config.compose` returns; equal arguments are composed once."""
    return copy.deepcopy(_composed(overrides, name))


@functools.cache
def small(*overrides: str) -> tuple[str, ...]:
    """Return overrides that shrink the networks chosen by `overrides`."""
    cfg, found = config(*overrides), []
    for group, known in _SMALL_ARGUMENTS.items():
        arguments = known.get(cfg[group]._target_.rpartition(".")[2], "width=4")
        found += [f"{group}.{argument}" for argument in arguments.split()]
    return tuple(found)


def feeding(module: "DataModule", *, world: int = 1, rank: int = 0, step: int = 0) -> "DataModule":
    """Attach a trainer of rank `rank` among `world` processes, at step `step`."""
    module.trainer = SimpleNamespace(world_size=world, global_rank=rank, global_step=step)  # type: ignore[assignment]
    return module


def blurred(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    """Return an image `(H, W, 3)` convolved with a PSF per channel, with reflected borders."""
    return np.stack([convolve(image[..., c], psf, mode="reflect") for c in range(3)], axis=-1)


def data_command(*arguments: object) -> int:
    """Run `deblurlab data ...`; return its exit code.

    Raises:
        UserError: The command exited with a message.
    """
    with pytest.raises(SystemExit) as end:
        data([str(argument) for argument in arguments])
    if isinstance(end.value.code, str):
        raise UserError(end.value.code)
    return int(end.value.code or 0)


SMALL = small()
"""Overrides that shrink the default networks."""


def small_release(folder: Path, model: str = "unet_res", *options: str) -> Path:
    """Write a release of a small model with random weights, which changes images slightly."""
    torch.manual_seed(0)
    node = config(f"model={model}", *(options or small(f"model={model}"))).model
    generator = instantiate(node)
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, 0, 0.05)
    write_release(folder, node, generator.state_dict(), {"run": {}})
    return folder


@dataclass(frozen=True)
class Server:
    """A running `deblurlab serve` process."""

    address: str
    process: int
    folder: Path
    """Folder of its temporary files."""


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Server]:
    """Serve a small release in a subprocess; check at the end that it leaves no temporary files."""
    scratch, weights = folder / "scratch", small_release(folder / "small")
    scratch.mkdir()
    command = [
        sys.executable, "-m", "deblurlab", "serve", "--weights", str(weights), "--port", "0", "--device", "cpu",
        *options,
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(scratch)})
    assert process.stdout is not None
    found = re.match(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
    assert found is not None
    yield Server(found[0], process.pid, scratch)
    process.terminate()
    assert process.wait(30) == 143
    assert list(scratch.glob("deblurlab-*")) == []
