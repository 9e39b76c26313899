"""Restoration of videos, frame by frame, in segments that an interrupted restoration resumes from."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from deblurlab.media.containers import missing_end
from deblurlab.media.large_images import MAX_PIXELS
from deblurlab.media.pixels import InMemory, Pixels
from deblurlab.media.video import VideoReader, open_video, video_errors
from deblurlab.media.video_writer import VideoEncoder, check_support, mux
from deblurlab.runs.files import atomic_path

SEGMENT = 100
"""Number of frames per segment. An interrupted restoration resumes after the last complete one."""


@dataclass
class VideoReport:
    """Statistics of a restored video."""

    frames: int = 0
    broken: int = 0
    """Number of frames that couldn't be decoded completely."""
    missing_end: str = ""
    """In which way the source is incomplete; empty if it is complete."""
    not_kept: list[str] = field(default_factory=list)
    """Names of what the source has and the restored video hasn't."""
    resumed: int = 0
    """Number of frames that an earlier call restored."""
    megapixels: float = 0.0
    busy: float = 0.0
    """Seconds in which the network was running."""
    waiting: float = 0.0
    """Seconds in which the network waited for decoding and encoding."""

    @property
    def problems(self) -> list[str]:
        """Messages about frames that are missing in the restored video."""
        broken = [f"{self.broken} damaged frames were left out"] if self.broken else []
        missing = f"the video is incomplete ({self.missing_end}): what could be read was restored"
        return [*broken, missing] if self.missing_end else broken

    def __str__(self) -> str:
        restored, total = self.frames - self.resumed, self.busy + self.waiting
        if not restored or not total:
            return f"{self.frames} frames, all restored before"
        return (
            f"{restored} frames in {total:.1f} s, {restored / total:.2f} per second; the network alone "
            f"{restored / self.busy:.2f} per second, busy {100 * self.busy / total:.0f} % of the time"
        )


def restore_video(
    source: Path,
    target: Path,
    restorer: Restorer,
    *,
    side_by_side: bool = False,
    max_pixels: int = MAX_PIXELS,
    advance: Callable[[float], None] = lambda fraction: None,
) -> VideoReport:
    """Restore a video into a file of the same format.

    Other streams, chapters and metadata are copied. Frames keep their timestamps and are rotated upright. Finished
    segments are stored beside the target until the video is complete, so that a second call resumes.

    Args:
        source: The video.
        target: The file to write.
        restorer: The network.
        side_by_side: Write the blurred and the restored frame next to each other.
        max_pixels: Maximum number of pixels of a frame.
        advance: Called with the restored fraction of the video, 0 to 1.

    Raises:
        UserError: The source isn't a readable video, it has properties that the target can't keep, its frames are too
            large, the disk is full, another process restores the same video, or PyAV isn't installed.
    """
    with video_errors(source, target):
        folder = target.with_name(f".{_digest(source, target, restorer, side_by_side)}.parts")
        lock = FileLock(folder.with_suffix(".lock"))
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise UserError(f"{source} is being restored to {target} by another process") from error
        try:
            with open_video(source, max_pixels) as reader:
                folder.mkdir(exist_ok=True)
                check_support(source, reader, folder, target.suffix)
                restoration = _Restoration(reader, restorer, side_by_side, advance)
                restoration.write_segments(folder, target.suffix)
                if not restoration.report.frames:
                    raise UserError(f"{source} holds no frame with a time")
                with atomic_path(target, unique=True) as temporary:
                    mux(sorted(folder.glob("*.nut")), source, temporary, reader)
            shutil.rmtree(folder)
            report = restoration.report
            report.broken, report.missing_end = reader.broken, missing_end(source)
            report.not_kept = reader.not_kept + _lost_sides(reader, side_by_side)
            return report
        finally:
            with suppress(OSError):  # not empty: finished segments stay
                folder.rmdir()
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


@dataclass
class _Restoration:
    """State of the restoration of one video."""

    reader: VideoReader
    restorer: Restorer
    side_by_side: bool
    advance: Callable[[float], None]
    report: VideoReport = field(default_factory=VideoReport)

    def write_segments(self, folder: Path, suffix: str) -> None:
        """Restore all frames into files of `SEGMENT` frames each; skip the segments that exist."""
        finished = {int(file.stem) for file in folder.glob("*.nut")}
        frames = self.reader.frames()
        with ThreadPoolExecutor(1) as decoding, ThreadPoolExecutor(1) as encoding:
            for number in count():
                if number in finished:
                    skipped = sum(1 for _ in islice(frames, SEGMENT))
                    self.report.frames += skipped
                    self.report.resumed += skipped
                    continue
                first = next(frames, None)
                if first is None:
                    return
                file, start, busy = folder / f"{number:06d}.nut", time.perf_counter(), self.report.busy
                with (
                    atomic_path(file, fsync=False) as temporary,
                    VideoEncoder(temporary, self.reader, suffix) as encoder,
                ):
                    self._write_segment(chain([first], islice(frames, SEGMENT - 1)), encoder, decoding, encoding)
                self.report.waiting += time.perf_counter() - start - (self.report.busy - busy)

    def _write_segment(
        self, frames: Iterator[Any], encoder: VideoEncoder, decoding: Executor, encoding: Executor
    ) -> None:
        """Restore and encode frames.

        While the network restores a frame, the next one is decoded and the previous one is encoded.
        """
        following, writing = decoding.submit(next, frames, None), encoding.submit(lambda: None)
        while (frame := following.result()) is not None:
            following = decoding.submit(next, frames, None)
            pixels = self._restore(frame)
            writing.result()
            writing = encoding.submit(encoder.write, pixels, frame)
            if self.reader.duration and frame.time is not None:
                self.advance(min(1.0, frame.time / self.reader.duration))
        writing.result()

    def _restore(self, frame: Any) -> Pixels:
        """Return the restored pixels of a frame, or both images next to each other if `side_by_side` is set."""
        blurred = self.reader.pixels(frame)
        start = time.perf_counter()
        restored = np.concatenate([rows for _, rows in self.restorer.rows(InMemory(blurred, blurred.shape[2]))])
        self.report.busy += time.perf_counter() - start
        self.report.frames += 1
        self.report.megapixels += blurred.shape[0] * blurred.shape[1] / 1e6
        return np.concatenate([blurred, restored], axis=1) if self.side_by_side else restored


def _lost_sides(reader: VideoReader, side_by_side: bool) -> list[str]:
    """Return the name of the row and the column that the restored video lacks."""
    height, width = reader.size[0], reader.size[1] * (1 + side_by_side)
    even_height, even_width = reader.properties.converted().encoded_size(height, width)
    lost = (height, width) != (even_height, even_width)
    return [f"odd sides ({width}x{height} becomes {even_width}x{even_height})"] if lost else []


def _digest(source: Path, target: Path, restorer: Restorer, side_by_side: bool) -> str:
    """Return an identifier of the source's content, the target's name and the settings."""
    state = source.stat()
    settings = f"{target.name} {restorer.settings} {side_by_side}"
    content = f"{source.absolute()} {state.st_size} {state.st_mtime_ns} {settings}"
    return sha256(os.fsencode(content)).hexdigest()[:12]
