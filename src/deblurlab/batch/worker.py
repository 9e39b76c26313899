"""What each process of a cluster does: fetch a picture, restore it, keep it."""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypedDict

import torch

from deblurlab.errors import UserError, first_sentence
from deblurlab.inference.predictor import Restorer
from deblurlab.media.large_images import LargeImageWriter, open_image
from deblurlab.runs.storage import open_store

_PAUSES = (1.0, 2.0, 4.0)
"""Seconds before each further try to fetch or to keep a file."""


class Outcome(TypedDict):
    """What became of a picture; both lines are empty if it is restored."""

    key: str
    error: str
    useless: str
    """Why this worker can't restore any."""


class Worker:
    """Restores pictures of `source` to `target`, one after the other.

    Args:
        load: Makes the network.
        source: A folder or `s3://bucket/folder`.
        target: Another.
        max_pixels: Of a picture.
        threads: For the network, if it runs on the processor and there are as many.
    """

    def __init__(
        self, load: Callable[[], Restorer], *, source: str, target: str, max_pixels: int, threads: int
    ) -> None:
        torch.set_num_threads(min(threads, os.cpu_count() or 1))
        self._max_pixels, self._useless = max_pixels, ""
        try:
            self._source, self._target = open_store(source), open_store(target)
            self._restorer = load()
        except (UserError, OSError) as error:  # raised here it would come as pages of Ray's own
            self._useless = f"{platform.node()}: {error}"

    def __call__(self, row: dict[str, str]) -> Outcome:
        key, line = row["key"], ""
        try:
            if not self._useless:
                self._restore(key)
        except UserError as error:
            line = str(error)
        except MemoryError:
            line = f"{self._source.address}{key} can't be restored: out of memory: a smaller --tile needs less"
        except Exception as error:
            line = f"{self._source.address}{key} can't be restored: {first_sentence(error)}"
        return {"key": key, "error": line, "useless": self._useless}

    def _restore(self, key: str) -> None:
        with tempfile.TemporaryDirectory(prefix="deblurlab-") as folder:
            suffix, address = PurePosixPath(key).suffix, self._source.address + key
            blurred, restored = Path(folder) / f"blurred{suffix}", Path(folder) / f"restored{suffix}"
            _insist(lambda: self._source.fetch(key, blurred))
            try:
                self._compute(blurred, restored)
            except UserError as error:
                raise UserError(str(error).replace(str(blurred), address).replace(str(restored), address)) from error
            _insist(lambda: self._target.put(restored, key))

    def _compute(self, blurred: Path, restored: Path) -> None:
        picture = open_image(blurred, self._max_pixels)
        with LargeImageWriter(restored, picture) as writer:
            for _, rows in self._restorer.rows(picture):
                writer.write(rows)
            writer.finish()


def _insist(work: Callable[[], None]) -> None:
    """Do what may fail for a while.

    Raises:
        OSError: It fails each time.
    """
    for pause in _PAUSES:
        try:
            return work()
        except OSError:
            time.sleep(pause)
    return work()
