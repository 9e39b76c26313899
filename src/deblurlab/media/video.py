"""Videos, frame by frame: what is not picture is copied, and every frame keeps its time."""

import heapq
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout

from deblurlab.errors import UserError, first_sentence
from deblurlab.inference.predictor import Restorer
from deblurlab.media.large_images import MAX_PIXELS
from deblurlab.media.pixels import InMemory, Pixels
from deblurlab.runs.files import atomic_path

if TYPE_CHECKING:  # PyAV loads FFmpeg
    import av

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm"}
_FILM = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm", "protocol_whitelist": "file"}
"""What FFmpeg may take a source for: not a playlist or a script, which name other files."""
SEGMENT = 100
"""Frames after which an interrupted video goes on."""
_ENCODERS = {".webm": ("libvpx-vp9", {"crf": "20", "b": "0", "auto-alt-ref": "0"})}
_H264 = "libx264", {"crf": "16", "bf": "0"}  # without frames out of order, so that segments join


@dataclass
class Report:
    """What became of a video."""

    frames: int = 0
    broken: int = 0
    """Frames that couldn't be decoded, or not fully."""
    resumed: int = 0
    """Of the frames, those that were done before."""
    megapixels: float = 0.0
    busy: float = 0.0
    """Seconds that the network was at work."""
    waiting: float = 0.0
    """Seconds that it waited for decoding and encoding."""

    def __str__(self) -> str:
        new = self.frames - self.resumed
        total = self.busy + self.waiting
        if not new or not total:
            return f"{self.frames} frames, all done before"
        return (
            f"{new} frames in {total:.1f} s, {new / total:.2f} per second; the network alone {new / self.busy:.2f} per "
            f"second, busy {100 * self.busy / total:.0f} % of the time"
        )


def restore(
    source: Path,
    target: Path,
    restorer: Restorer,
    *,
    side_by_side: bool = False,
    max_pixels: int = MAX_PIXELS,
    advance: Callable[[float], None] = lambda share: None,
) -> Report:
    """Restore a video into a file of the same kind. Sound and subtitles are copied; frames keep their times and are
    turned upright. Parts that are done are kept beside the target until the whole is, so the same call goes on.

    Raises:
        UserError: It isn't a video that can be read, its frames are too large, the disk is full, another process does
            the same, or PyAV isn't installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(f"{source}: videos need PyAV: pip install 'deblurlab[video]'") from error
    parts = target.with_name(f".{target.stem}.{_digest(source, restorer, side_by_side)}.parts")
    report, lock = Report(), FileLock(parts.with_suffix(".lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(f"{source} is being restored to {target} by another process") from error
    try:
        with av.open(str(source), options=dict(_FILM)) as container:
            if not container.streams.video:
                raise UserError(f"{source} has no pictures in it")
            stream = container.streams.video[0]
            if stream.codec_context.width * stream.codec_context.height > max_pixels:
                raise UserError(f"the frames of {source} have more than --max-pixels {max_pixels}")
            parts.mkdir(exist_ok=True)
            length = float(container.duration or 0) / 1e6
            frames = _decoded(container, stream, report, max_pixels)
            _restore_parts(frames, stream, parts, target.suffix, restorer, side_by_side, report, length, advance)
        if not report.frames:
            raise UserError(f"{source} holds no frame that can be decoded")
        with atomic_path(target, unique=True) as temporary:
            _join(sorted(parts.glob("*.nut")), source, temporary)
        shutil.rmtree(parts)
    except (av.error.FFmpegError, OSError) as error:
        if (
            isinstance(error, OSError)
            and not isinstance(error, av.error.InvalidDataError)
            and error.errno in (28, 13, 30)
        ):
            raise UserError(
                f"{target} couldn't be written ({first_sentence(error)}): the same command goes on"
            ) from error
        raise UserError(f"{source} can't be read as a video: {first_sentence(error)}") from error
    finally:
        with suppress(OSError):  # parts that are done stay
            parts.rmdir()
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
    return report


def _restore_parts(
    frames: Iterator["av.VideoFrame"],
    stream: Any,
    parts: Path,
    suffix: str,
    restorer: Restorer,
    side_by_side: bool,
    report: Report,
    length: float,
    advance: Callable[[float], None],
) -> None:
    """Write files of `SEGMENT` frames each. While a frame is restored, the next is decoded and the last encoded."""
    done = {int(file.stem) for file in parts.glob("*.nut")}
    with ThreadPoolExecutor(1) as decoding, ThreadPoolExecutor(1) as encoding:
        for number in count():
            if number in done:
                skipped = sum(1 for _ in islice(frames, SEGMENT))
                report.frames += skipped
                report.resumed += skipped
                continue
            ahead = decoding.submit(next, frames, None)
            if ahead.result() is None:
                return
            file = parts / f"{number:06d}.nut"
            begun = time.perf_counter()
            with atomic_path(file, fsync=False) as temporary, _Encoder(temporary, stream, suffix) as encoder:
                writing = encoding.submit(lambda: None)
                for i in range(SEGMENT):
                    frame = ahead.result()
                    if frame is None:
                        break
                    if i < SEGMENT - 1:
                        ahead = decoding.submit(next, frames, None)
                    report.waiting += time.perf_counter() - begun
                    pixels = _pixels(frame)
                    begun = time.perf_counter()
                    restored = _restored(pixels, restorer)
                    report.busy += time.perf_counter() - begun
                    begun = time.perf_counter()
                    writing.result()
                    shown = np.concatenate([pixels, restored], axis=1) if side_by_side else restored
                    writing = encoding.submit(encoder.write, shown, frame)
                    report.frames += 1
                    report.megapixels += pixels.shape[0] * pixels.shape[1] / 1e6
                    if length and frame.time is not None:
                        advance(min(1.0, frame.time / length))
                writing.result()
            report.waiting += time.perf_counter() - begun


def _decoded(container: Any, stream: Any, report: Report, max_pixels: int) -> Iterator["av.VideoFrame"]:
    """All frames that can be decoded; the others, and those that are larger than they may, are counted."""
    import av

    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(max_pixels)}
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.InvalidDataError:
            report.broken += 1
            return
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            report.broken += 1
            continue
        for frame in frames:
            report.broken += bool(frame.is_corrupt)
            yield frame


def _pixels(frame: "av.VideoFrame") -> Pixels:
    """`(H, W, 3)`, upright, of 8 or 16 bits."""
    deep = max(component.bits for component in frame.format.components) > 8
    pixels = frame.to_ndarray(format="rgb48le" if deep else "rgb24")
    turned: Pixels = np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
    return turned


def _restored(pixels: Pixels, restorer: Restorer) -> Pixels:
    return np.concatenate([restored for _, restored in restorer.rows(InMemory(pixels))])


class _Encoder:
    """Writes a file of pictures alone."""

    def __init__(self, path: Path, like: Any, suffix: str) -> None:
        import av

        self._container = av.open(str(path), "w", format="nut")
        self._like, self._codec = like, _ENCODERS.get(suffix.lower(), _H264)
        self._stream: Any = None
        self._pix_fmt = "yuv420p"

    def write(self, pixels: Pixels, frame: "av.VideoFrame") -> None:
        """A picture in the place of a frame."""
        import av

        height, width = (side - side % 2 for side in pixels.shape[:2])  # as halved colours need it
        if self._stream is None:
            self._start(width, height, frame)
        deep = pixels.dtype == np.uint16
        picture = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(pixels[:height, :width]), format="rgb48le" if deep else "rgb24"
        )
        coloured = picture.reformat(format=self._pix_fmt, dst_colorspace=frame.colorspace)
        coloured.pts, coloured.time_base = frame.pts, frame.time_base
        self._container.mux(self._stream.encode(coloured))

    def _start(self, width: int, height: int, frame: "av.VideoFrame") -> None:
        import av

        name, options = self._codec
        codec = av.Codec(name, "w")
        known = [form.name for form in codec.video_formats or ()]
        deep = max(component.bits for component in frame.format.components) > 8
        usual = "yuv420p10le" if deep and "yuv420p10le" in known else "yuv420p"
        self._pix_fmt = frame.format.name if frame.format.name in known else usual
        self._stream = self._container.add_stream(name, rate=self._like.average_rate or 25, options=dict(options))
        context, before = self._stream.codec_context, self._like.codec_context
        context.width, context.height, context.pix_fmt = width, height, self._pix_fmt
        context.time_base = frame.time_base or Fraction(1, 90000)
        if before.sample_aspect_ratio:
            context.sample_aspect_ratio = before.sample_aspect_ratio
        for kind in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, kind, getattr(before, kind))

    def __enter__(self) -> "_Encoder":
        return self

    def __exit__(self, kind: Any, error: Any, at: Any) -> None:
        if self._stream is not None and error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def _join(parts: list[Path], source: Path, target: Path) -> None:
    """The pictures of the parts, and everything else of the source, in the order of time."""
    import av

    with (
        av.open(str(source), options=dict(_FILM)) as original,
        av.open(str(parts[0])) as first,
        av.open(str(target), "w") as out,
    ):
        pictures = out.add_stream_from_template(first.streams.video[0])
        pictures.time_base = original.streams.video[0].time_base
        out.metadata.update(original.metadata)
        others = {}
        for stream in (*original.streams.audio, *original.streams.subtitles):
            others[stream.index] = out.add_stream_from_template(stream)
            others[stream.index].metadata.update(stream.metadata)

        def restored() -> Iterator[Any]:
            for part in parts:
                with av.open(str(part)) as container:
                    for packet in container.demux(video=0):
                        if packet.dts is not None:
                            yield packet, pictures

        def copied() -> Iterator[Any]:
            if not others:
                return
            for packet in original.demux([stream for stream in original.streams if stream.index in others]):
                if packet.dts is not None:
                    yield packet, others[packet.stream.index]

        for packet, stream in heapq.merge(restored(), copied(), key=lambda one: one[0].dts * one[0].time_base):
            packet.stream = stream
            out.mux(packet)


def _digest(source: Path, restorer: Restorer, side_by_side: bool) -> str:
    """The same for the same work."""
    state = source.stat()
    work = f"{source.absolute()} {state.st_size} {state.st_mtime_ns} {restorer.settings} {side_by_side}"
    return sha256(work.encode()).hexdigest()[:12]
