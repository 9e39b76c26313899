"""Restoration of uploaded files, one at a time and within limits."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from deblurlab.media.heif import heif_kind
from deblurlab.media.large_image_writer import LargeImageWriter
from deblurlab.media.large_images import TooLargeError, open_image
from deblurlab.serving.limits import Limits


class LimitError(UserError):
    """A request that exceeds a limit.

    Args:
        status: HTTP status code of the response.
        message: Text of the response.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Restored(NamedTuple):
    """A restored file."""

    file: Path
    not_kept: list[str]
    """Names of what the source holds and the file doesn't."""


class RestoreService:
    """Restoration of one file at a time; other calls wait. Thread-safe."""

    def __init__(self, restorers: Mapping[str, Restorer], limits: Limits) -> None:
        self.restorers, self.limits = restorers, limits
        self._lock = threading.Lock()

    def restore(self, source: Path, target: Path | None, name: str, strength: float) -> Restored:
        """Restore a file into `target`, by default a file of the same format beside the source.

        Args:
            source: Image file.
            target: File to write.
            name: Name of the restorer.
            strength: Weight of the restored image in the result, 0 to 1.

        Raises:
            LimitError: The file is too large, or the restoration takes too long.
            UserError: The file can't be read, or there is no such restorer.
        """
        if name not in self.restorers:
            raise UserError(f"there is no model {name}: {', '.join(self.restorers)}")
        if not 0 <= strength <= 1:
            raise UserError(f"the strength must be between 0 and 1, not {strength:g}")
        if source.stat().st_size > self.limits.megabytes * 1e6:
            raise LimitError(413, f"the file has more than {self.limits.megabytes:g} megabytes")
        with source.open("rb") as file:
            if heif_kind(file.read(64)):  # their decoders aren't meant for untrusted files
                raise UserError(f"{source} is HEIC or AVIF, which the server doesn't accept: convert it to JPEG or PNG")
        restorer = Restorer(self.restorers[name].engine, strength=strength)
        deadline = time.monotonic() + self.limits.seconds
        with self._locked(deadline):
            try:
                image = open_image(source, int(self.limits.megapixels * 1e6))
            except TooLargeError as error:
                raise LimitError(413, f"the image has more than {self.limits.megapixels:g} million pixels") from error
            target = target or source.with_name(f"restored.{image.kind}")
            with LargeImageWriter(target, image) as writer:
                for _, restored in restorer.rows(image):
                    if time.monotonic() > deadline:
                        raise LimitError(504, f"the restoration took more than {self.limits.seconds:g} seconds")
                    writer.write(restored)
                writer.finish()
        return Restored(target, writer.not_kept)

    @contextmanager
    def _locked(self, deadline: float) -> Iterator[None]:
        if not self._lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise LimitError(504, f"the image waited for more than {self.limits.seconds:g} seconds")
        try:
            yield
        finally:
            self._lock.release()


@contextmanager
def hide_path(file: Path, name: str) -> Iterator[None]:
    """Replace the path of `file` in the message of a UserError by `name`, so that clients see no path of the server."""
    try:
        yield
    except LimitError:
        raise
    except UserError as error:
        raise UserError(str(error).replace(str(file), name).replace(f"{file.parent}/", "")) from error
