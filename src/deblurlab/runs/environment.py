"""Software and hardware of a run, and the choice of a device."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from deblurlab import __version__
from deblurlab.errors import UserError, first_sentence

_PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "hydra-core",
    "torchmetrics",
    "albumentations",
    "numpy",
    "opencv-python-headless",
)


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`, such as cpu, cuda:1 or mps. "auto" is a GPU if there is one, else the CPU.

    Raises:
        UserError: The device doesn't exist.
    """
    try:
        if name == "auto":
            found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
            return found or torch.device("cpu")
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name} can't be used: {first_sentence(error)}") from error
    return device


def describe() -> dict[str, Any]:
    """Return the command, versions, hardware and revision."""
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES},
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        **revision(),
    }


def revision() -> dict[str, Any]:
    """Return this package's version and, in a checkout, the commit and whether tracked files differ from it."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():
        return {"version": __version__, "commit": None, "modified": None}

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {
        "version": __version__,
        "commit": git("rev-parse", "HEAD"),
        "modified": None if status is None else bool(status),
    }
