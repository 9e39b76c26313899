"""Checkpoint files: written whole or not at all, checked when they are read, and read without running code."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from deblurlab.errors import UserError, reason
from deblurlab.foreign import load_tensors
from deblurlab.runs import Run

_LOG = logging.getLogger(__name__)


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoints that are there whole or not at all: written beside their place, flushed to the disk, then renamed.
    The `last.ckpt` that a new one replaces stays as `previous.ckpt`, in case the new one rots.

    Where the disk is full, what is left of killed attempts and `previous.ckpt` make room.

    Raises:
        UserError: On saving: the disk is full or the folder can't be written. On loading: the file is damaged or holds
            more than tensors and plain data.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(checkpoint, path)
            except (OSError, RuntimeError):
                if not _make_room(path.parent):
                    raise
                _write(checkpoint, path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            raise UserError(
                f"the checkpoint {path} couldn't be written ({reason(error)}): {_room(checkpoint, path.parent)}. "
                f"Is the disk full, or the folder read-only? The checkpoint before it is as it was, and the same "
                f"command goes on from there"
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
        content = load_tensors(path)
    except Exception as error:
        raise UserError(f"{path} can't be read as a checkpoint: {reason(error)}") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(f"{path} isn't a checkpoint of deblurlab: it has no state_dict")
    return content


def newest(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """A run's newest checkpoint that is whole, with its content; None if it has none at all. Damaged ones are renamed
    to `*.damaged`, with a warning.

    Raises:
        UserError: All are damaged.
    """
    found, damaged = [], []
    for file in (run.last_checkpoint, run.previous_checkpoint, run.best_checkpoint):
        try:
            if file.is_file():
                found.append((file, read_checkpoint(file)))
                if file == run.last_checkpoint:
                    break
        except UserError as error:
            damaged.append(_set_aside(file, error))
    if not found and damaged:
        raise UserError(
            f"every checkpoint of {run.folder} is damaged ({', '.join(damaged)}): fresh=true starts the run over"
        )
    best = max(found, key=lambda one: one[1]["global_step"], default=None)
    if best and damaged:
        _LOG.warning("The training goes on from %s, step %d.", best[0], best[1]["global_step"])
    return best


def whole(file: Path) -> dict[str, Any] | None:
    """A checkpoint's content, if it is there and whole; a damaged one is renamed to `*.damaged`, with a warning."""
    try:
        return read_checkpoint(file) if file.is_file() else None
    except UserError as error:
        _set_aside(file, error)
        return None


def _set_aside(file: Path, error: UserError) -> str:
    _LOG.warning("%s. It's kept as %s.damaged.", error, file.name)
    if file.exists():  # another process may have been faster
        file.rename(file.with_name(f"{file.name}.damaged"))
    return file.name


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    run = Run(path.parent.parent)
    if path == run.last_checkpoint and path.exists():
        path.replace(run.previous_checkpoint)
    partial.replace(path)
    if os.name == "posix":  # elsewhere a folder can't be flushed
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _make_room(folder: Path) -> bool:
    """Delete what can be spared; whether there was anything."""
    spared = [*folder.glob(".*.partial"), folder / "previous.ckpt"]
    found = [file for file in spared if file.exists()]
    for file in found:
        file.unlink()
        _LOG.warning("%s was deleted to make room for a checkpoint.", file)
    return bool(found)


def _room(checkpoint: dict[str, Any], folder: Path) -> str:
    """How much a checkpoint needs and how much there is."""

    class Count:
        size = 0

        def write(self, data: bytes) -> int:
            self.size += len(data)
            return len(data)

        def flush(self) -> None: ...

    torch.save(checkpoint, count := Count())  # type: ignore[arg-type]
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    return f"it needs {count.size / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free"
