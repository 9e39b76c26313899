"""Software and hardware of a run, and the choice of a device."""

import hashlib
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
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
    found = _git_revision(root) if (root / ".git").exists() else {"commit": None, "modified": None}
    return {"version": __version__, **found}


def source_revisions(config: Any) -> dict[str, dict[str, Any]]:
    """Return the revision of each package outside of the environment that a config names by `_target_`.

    Args:
        config: Plain dicts and lists.

    Returns:
        By package: `commit` and `modified` of its git checkout, None without one, and the SHA-256 of its Python files.
    """
    installed = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
    found = {}
    for package in sorted({target.partition(".")[0] for target in _targets(config)} - {"deblurlab"}):
        try:
            spec = find_spec(package)
        except (ImportError, ValueError):
            continue
        if spec is None or spec.origin in ("built-in", "frozen"):
            continue
        folders = [Path(place).resolve() for place in spec.submodule_search_locations or ()]  # also without __init__.py
        places = folders or [Path(str(spec.origin)).resolve()]
        if any(place.is_relative_to(folder) for place in places for folder in installed):
            continue
        sources = sorted(source for folder in folders for source in folder.rglob("*.py")) or places
        digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        found[package] = {**_git_revision(places[0] if folders else places[0].parent), "sha256": digest}
    return found


def _targets(config: Any) -> Iterator[str]:
    """Yield the values of all keys `_target_`."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield from [str(value)] if key == "_target_" else _targets(value)
    elif isinstance(config, Sequence) and not isinstance(config, str):
        for value in config:
            yield from _targets(value)


def _git_revision(folder: Path) -> dict[str, Any]:
    """Return the commit of the checkout that contains a folder, and whether tracked files differ; None without git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "modified": None if status is None else bool(status)}
