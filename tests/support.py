"""Helper functions of the tests."""

import functools
import json
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
from scipy.ndimage import convolve

from deblurlab.checkpoints.release import write_release
from deblurlab.cli.data import data
from deblurlab.config import compose as config
from deblurlab.config import find_target, instantiate
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


@functools.cache
def small(*overrides: str) -> tuple[str, ...]:
    """Return overrides that shrink the networks chosen by `overrides` to the `small_arguments` of their classes.

    A class without that attribute keeps its arguments.
    """
    cfg = config(*overrides)
    return tuple(
        f"{group}.{key}={json.dumps(value)}"
        for group in ("model", "discriminator")
        for key, value in getattr(find_target(cfg[group]), "small_arguments", {}).items()
    )


def feeding(module: "DataModule", *, world: int = 1, rank: int = 0, step: int = 0) -> "DataModule":
    """Attach a trainer of rank `rank` among `world` processes, whose next batch is `step`."""
    loop = SimpleNamespace(total_batch_idx=step - 1)
    module.trainer = SimpleNamespace(world_size=world, global_rank=rank, fit_loop=loop)  # type: ignore[assignment]
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
