"""Checkpoint files: written atomically, checked when they are read, and read without executing code."""

import errno
import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from deblurlab.checkpoints.safe_load import load_tensors
from deblurlab.errors import UserError, first_sentence
from deblurlab.runs.files import atomic_path, atomic_write
from deblurlab.runs.folder import Run

_LOG = logging.getLogger(__name__)
_RENAMED_CALLBACKS = {"Continuation": "ResumeState", "Interruption": "Preemption", "Trouble": "NonFinite"}
"""State keys of callbacks in checkpoints written before a rename, and their current names."""


class DamagedError(UserError):
    """Error for a corrupted or invalid checkpoint."""


def write_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint atomically; it survives a full disk and a power failure.

    It is written to a temporary file, flushed to the disk, then renamed. The `last.ckpt` that it replaces stays as
    `previous.ckpt`, in case the new one gets damaged. If the disk is full, leftover `.partial` files of interrupted
    writes are deleted, then `previous.ckpt`.

    Raises:
        UserError: The disk is full or the folder can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                _write(checkpoint, path)
                break
            except (OSError, RuntimeError) as error:
                if not _is_disk_full(error) or not _free_space(path.parent):
                    raise
    except OSError as error:
        raise _write_error(checkpoint, path, error) from error
    except RuntimeError as error:
        if not _is_disk_full(error):
            raise
        raise _write_error(checkpoint, path, error) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content on the CPU: tensors and plain data only.

    Raises:
        DamagedError: The file is damaged or holds anything else.
        UserError: The file is missing or can't be read at present.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    try:
        content = load_tensors(path)
    except (OSError, MemoryError) as error:
        raise UserError(f"the checkpoint {path} can't be read ({error}): is its disk available?") from error
    except Exception as error:
        raise DamagedError(f"{path} can't be read as a checkpoint: {first_sentence(error)}") from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise DamagedError(f"{path} isn't a checkpoint of deblurlab: it has no state_dict")
    if isinstance(callbacks := content.get("callbacks"), dict):
        content["callbacks"] = {_RENAMED_CALLBACKS.get(key, key): state for key, state in callbacks.items()}
    return content


def read_training_state(file: Path) -> dict[str, Any]:
    """Return the content of a checkpoint that a training can resume from.

    Raises:
        DamagedError: The file is damaged or holds no training state.
        UserError: The file is missing or can't be read at present.
    """
    content = read_checkpoint(file)
    kinds = {"global_step": int, "callbacks": dict, "loops": dict, "pytorch-lightning_version": str}
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise DamagedError(f"{file} holds no training state: it has no {key}")
    return content


def try_read_training_state(file: Path) -> dict[str, Any] | None:
    """Return a checkpoint's content, or None if it is missing or damaged.

    A damaged file is renamed to `*.damaged`, with a warning.
    """
    try:
        return read_training_state(file) if file.is_file() else None
    except DamagedError as error:
        _LOG.warning("%s. It is kept as %s.damaged.", error, file.name)
        with suppress(FileNotFoundError):  # another process may have renamed it
            file.rename(file.with_name(f"{file.name}.damaged"))
        return None


def newest_checkpoint(run: Run) -> tuple[Path, dict[str, Any]] | None:
    """Return the path and content of a run's newest undamaged checkpoint, or None if the run has no checkpoint.

    Damaged checkpoints are renamed to `*.damaged`, with a warning.

    Raises:
        UserError: All checkpoints are damaged, or one can't be read at present.
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
    newest = max(found, key=lambda pair: pair[1]["global_step"], default=None)
    if newest and damaged:
        _LOG.warning("The training resumes from %s, step %d.", newest[0], newest[1]["global_step"])
    return newest


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    with atomic_write(path, "wb", fsync=False) as file:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())  # here instead of at the end of the block: before `last.ckpt` is renamed
        if path.name == "last.ckpt" and path.exists():
            _keep(path, path.with_name("previous.ckpt"))
    if os.name == "posix":  # other systems can't flush a folder
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _keep(file: Path, place: Path) -> None:
    """Replace `place` by a hard link to `file`, so that the old checkpoint exists throughout."""
    try:
        with atomic_path(place, fsync=False) as temporary:
            os.link(file, temporary)
    except OSError:  # a file system without hard links
        file.replace(place)


def _is_disk_full(error: Exception) -> bool:
    # torch.save raises RuntimeError without errno on a full disk.
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "PytorchStreamWriter" in str(error)


def _free_space(folder: Path) -> bool:
    """Delete leftover `.partial` files of interrupted writes, or else `previous.ckpt`; return whether any existed."""
    unneeded = list(folder.glob(".*.partial"))
    if (
        not unneeded
        and (folder / "previous.ckpt").exists()
        and try_read_training_state(folder / "last.ckpt") is not None
    ):
        unneeded = [folder / "previous.ckpt"]
    for file in unneeded:
        file.unlink()
        _LOG.warning("%s was deleted to make room for a checkpoint.", file)
    return bool(unneeded)


def _write_error(checkpoint: dict[str, Any], path: Path, error: Exception) -> UserError:
    return UserError(
        f"the checkpoint {path} couldn't be written ({first_sentence(error)}): "
        f"{_describe_space(checkpoint, path.parent)}. Is the disk full, or the folder read-only? The "
        f"checkpoint before it is unchanged: the same command, without fresh=true, resumes from there"
    )


def _describe_space(checkpoint: dict[str, Any], folder: Path) -> str:
    """Return how much space a checkpoint needs and how much is free."""

    class Count:
        size = 0

        def write(self, data: bytes) -> int:
            self.size += len(data)
            return len(data)

        def flush(self) -> None: ...

    torch.save(checkpoint, count := Count())  # type: ignore[arg-type]
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    return f"it needs {count.size / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free"
