"""Checkpoint files: written whole or not at all, checked when they are read, and read without running code."""

import errno
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.errors import UserError, first_sentence
from deblurlab.runs.files import atomic_write
from deblurlab.runs.folder import Run

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
            while True:
                try:
                    _write(checkpoint, path)
                    break
                except (OSError, RuntimeError) as error:
                    if not _is_full(error) or not _make_room(path.parent):
                        raise
        except OSError as error:
            raise _not_written(checkpoint, path, error) from error
        except RuntimeError as error:
            if not _is_full(error):
                raise
            raise _not_written(checkpoint, path, error) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        return read_checkpoint(Path(path))


_RENAMED_CALLBACKS = {"Continuation": "ResumeState", "Interruption": "Preemption", "Trouble": "NonFinite"}
"""State keys of callbacks in checkpoints written before the rename, and their current names."""


class DamagedError(UserError):
    """A checkpoint isn't what was written."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU; tensors and plain data only.

    Raises:
        DamagedError: The file is damaged, or holds anything else.
        UserError: It is missing, or can't be read at present.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        content = load_tensors(path)
    except (OSError, MemoryError) as error:
        raise UserError(f"the checkpoint {path} can't be read ({error}): is its disk there?") from error
    except Exception as error:
        raise DamagedError(f"{path} can't be read as a checkpoint: {first_sentence(error)}") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise DamagedError(f"{path} isn't a checkpoint of deblurlab: it has no state_dict")
    if isinstance(callbacks := content.get("callbacks"), dict):
        content["callbacks"] = {_RENAMED_CALLBACKS.get(key, key): state for key, state in callbacks.items()}
    return content


def newest_checkpoint(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """A run's newest checkpoint that is whole, with its content; None if it has none at all. Damaged ones are renamed
    to `*.damaged`, with a warning.

    Raises:
        UserError: All are damaged, or one can't be read at present.
    """
    found, damaged = [], []
    for file in (run.last_checkpoint, run.previous_checkpoint, run.best_checkpoint):
        if not file.is_file():
            continue
        if (content := try_read_training_state(file)) is None:
            damaged.append(file.name)
            continue
        found.append((file, content))
        if file == run.last_checkpoint:
            break
    if not found and (damaged := sorted(file.name for file in run.checkpoints.glob("*.damaged"))):
        raise UserError(
            f"every checkpoint of {run.folder} is damaged ({', '.join(damaged)}): fresh=true starts the run over"
        )
    best = max(found, key=lambda one: one[1]["global_step"], default=None)
    if best and damaged:
        _LOG.warning("The training goes on from %s, step %d.", best[0], best[1]["global_step"])
    return best


def read_training_state(file: Path) -> dict[str, Any]:
    """A checkpoint that a training can go on from: its content.

    Raises:
        DamagedError: The file is damaged, or is none.
        UserError: It is missing, or can't be read at present.
    """
    content = read_checkpoint(file)
    kinds = {"global_step": int, "callbacks": dict, "loops": dict, "pytorch-lightning_version": str}
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise DamagedError(f"{file} is no state of a training: it has no {key}")
    return content


def try_read_training_state(file: Path) -> dict[str, Any] | None:
    """A checkpoint's content, if it is there and whole; a damaged one is renamed to `*.damaged`, with a warning."""
    try:
        return read_training_state(file) if file.is_file() else None
    except DamagedError as error:
        _LOG.warning("%s. It's kept as %s.damaged.", error, file.name)
        with suppress(FileNotFoundError):  # another process may have been faster
            file.rename(file.with_name(f"{file.name}.damaged"))
        return None


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with atomic_write(path, "wb") as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())  # before `last.ckpt` loses its place
        if path.name == "last.ckpt" and path.exists():
            _keep(path, path.with_name("previous.ckpt"))
    if os.name == "posix":  # elsewhere a folder can't be flushed
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _keep(file: Path, place: Path) -> None:
    """Have a file in another place too, which it takes over at once."""
    partial = place.with_name(f".{place.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(file, partial)
    except OSError:  # a file system without links
        file.replace(place)
    else:
        partial.replace(place)


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "PytorchStreamWriter" in str(error)


def _make_room(folder: Path) -> bool:
    """Delete what can be spared, the least first; whether there was anything."""
    spared = list(folder.glob(".*.partial"))
    if not spared and (folder / "previous.ckpt").exists() and try_read_training_state(folder / "last.ckpt") is not None:
        spared = [folder / "previous.ckpt"]
    for file in spared:
        file.unlink()
        _LOG.warning("%s was deleted to make room for a checkpoint.", file)
    return bool(spared)


def _not_written(checkpoint: dict[str, Any], path: Path, error: Exception) -> UserError:
    return UserError(
        f"the checkpoint {path} couldn't be written ({first_sentence(error)}): {_room(checkpoint, path.parent)}. Is the disk "
        f"full, or the folder read-only? The checkpoint before it is as it was: the same command, without fresh=true, "
        f"goes on from there"
    )


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
