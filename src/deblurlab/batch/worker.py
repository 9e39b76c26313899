"""Worker process of `deblurlab restore --engine ray`: fetches, restores and stores images."""

import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypedDict

import torch

from deblurlab.batch.messages import failure_message
from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from deblurlab.media.large_image_writer import LargeImageWriter
from deblurlab.media.large_images import open_image
from deblurlab.runs.cpus import available_cpus
from deblurlab.runs.storage import open_store

_RETRY_DELAYS = (1.0, 2.0, 4.0)
"""Seconds to wait before each retry of a transfer."""


class Result(TypedDict):
    """Result of an image; both errors are empty if it was restored."""

    key: str
    error: str
    worker_error: str
    """Reason why this worker can't restore any image."""
    not_kept: str
    """What the image has lost, as a line for the user; empty if nothing."""


class Worker:
    """Callable that restores one image of a store to the same key of another.

    Args:
        load: Returns the restorer.
        source: Folder, or `s3://bucket/folder`.
        target: Folder, or `s3://bucket/folder`.
        max_pixels: Maximum number of pixels of an image.
        threads: Number of CPU threads of the network; at most the number of processors.
    """

    def __init__(
        self, load: Callable[[], Restorer], *, source: str, target: str, max_pixels: int, threads: int
    ) -> None:
        torch.set_num_threads(min(threads, available_cpus()))
        self._max_pixels, self._worker_error = max_pixels, ""
        try:
            self._source, self._target = open_store(source), open_store(target)
            self._restorer = load()
        except (UserError, OSError) as error:  # Ray would hide the message of an exception in its traceback
            self._worker_error = f"{platform.node()}: {error}"

    def __call__(self, row: dict[str, str]) -> Result:
        """Restore the image `row["key"]`."""
        key, message, lost = row["key"], "", ""
        try:
            if not self._worker_error:
                names = self._restore(key)
                lost = f"{self._source.address}{key}: not kept: {', '.join(names)}" if names else ""
        except Exception as error:
            message = failure_message(f"{self._source.address}{key}", error)
        return {"key": key, "error": message, "worker_error": self._worker_error, "not_kept": lost}

    def _restore(self, key: str) -> list[str]:
        """Restore an image; return the names of what it has lost."""
        with tempfile.TemporaryDirectory(prefix="deblurlab-") as folder:
            suffix, address = PurePosixPath(key).suffix, self._source.address + key
            blurred, restored = Path(folder) / f"blurred{suffix}", Path(folder) / f"restored{suffix}"
            _retry(lambda: self._source.fetch(key, blurred))
            try:
                lost = self._compute(blurred, restored)
            except UserError as error:
                raise UserError(str(error).replace(str(blurred), address).replace(str(restored), address)) from error
            _retry(lambda: self._target.put(restored, key))
            return lost

    def _compute(self, blurred: Path, restored: Path) -> list[str]:
        image = open_image(blurred, self._max_pixels)
        with LargeImageWriter(restored, image) as writer:
            for _, rows in self._restorer.rows(image):
                writer.write(rows)
            writer.finish()
            return writer.not_kept


def _retry(transfer: Callable[[], None]) -> None:
    """Call `transfer`, again after each delay while it raises OSError.

    Raises:
        OSError: The last call failed.
    """
    for delay in _RETRY_DELAYS:
        try:
            return transfer()
        except OSError:
            time.sleep(delay)
    return transfer()
