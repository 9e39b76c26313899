"""Decoding, encoding and muxing of video files with PyAV."""

import errno
import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deblurlab.errors import UserError, first_sentence
from deblurlab.media.pixels import Pixels

if TYPE_CHECKING:  # PyAV loads FFmpeg
    import av

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm"}
_INPUT_OPTIONS = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm", "protocol_whitelist": "file"}
"""Formats that FFmpeg may read. Playlists and scripts, which name other files, are excluded."""
_ENCODERS = {".webm": ("libvpx-vp9", {"crf": "20", "b": "0", "auto-alt-ref": "0"})}
_H264 = "libx264", {"crf": "16", "bf": "0"}  # no B-frames, so that segments can be concatenated


@contextmanager
def video_errors(source: Path, target: Path) -> Iterator[None]:
    """Context manager that turns errors of PyAV and of the file system into UserError.

    Raises:
        UserError: PyAV isn't installed, the source can't be read, or the target can't be written.
    """
    try:
        import av
    except ImportError as error:
        raise UserError(f"{source}: videos need PyAV: pip install 'deblurlab[video]'") from error
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        is_write_error = isinstance(error, OSError) and not isinstance(error, av.error.InvalidDataError)
        if is_write_error and error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            raise UserError(
                f"{target} couldn't be written ({first_sentence(error)}): run the same command again to resume"
            ) from error
        raise UserError(f"{source} can't be read as a video: {first_sentence(error)}") from error


@dataclass
class VideoReader:
    """The first video stream of a file; see `open_video`."""

    container: Any
    stream: Any
    broken: int = 0
    """Number of frames that couldn't be decoded completely."""

    @property
    def duration(self) -> float:
        """Duration in seconds, 0 if it is unknown."""
        return float(self.container.duration or 0) / 1e6

    def frames(self) -> Iterator["av.VideoFrame"]:
        """Yield all frames that can be decoded and count the others in `broken`."""
        import av

        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.InvalidDataError:
                self.broken += 1
                return
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.broken += 1
                continue
            for frame in frames:
                self.broken += bool(frame.is_corrupt)
                yield frame


@contextmanager
def open_video(path: Path, max_pixels: int) -> Iterator[VideoReader]:
    """Open a video file for decoding.

    Raises:
        UserError: The file has no video stream, or its frames have more pixels than `max_pixels`.
    """
    import av

    with av.open(str(path), options=dict(_INPUT_OPTIONS)) as container:
        if not container.streams.video:
            raise UserError(f"{path} has no video stream")
        stream = container.streams.video[0]
        context = stream.codec_context
        if context.width * context.height > max_pixels:
            raise UserError(f"the frames of {path} have more than --max-pixels {max_pixels}")
        stream.thread_type = "AUTO"
        context.options = {"max_pixels": str(max_pixels)}  # for frames larger than the header declares
        yield VideoReader(container, stream)


def frame_pixels(frame: "av.VideoFrame") -> Pixels:
    """Return the RGB pixels of a frame, `(H, W, 3)`, upright, uint8 or, above 8 bits, uint16."""
    pixels = frame.to_ndarray(format="rgb48le" if _is_deep(frame) else "rgb24")
    upright: Pixels = np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90) % 4))
    return upright


class VideoEncoder:
    """Encoder of a file (in the format NUT) with one video stream. A context manager.

    Args:
        path: The file to write.
        like: The stream that frame rate, aspect ratio and colour properties are taken from.
        suffix: Suffix of the final video, which chooses the codec: VP9 for .webm, otherwise H.264.
    """

    def __init__(self, path: Path, like: Any, suffix: str) -> None:
        import av

        self._container = av.open(str(path), "w", format="nut")
        self._like, self._codec = like, _ENCODERS.get(suffix.lower(), _H264)
        self._stream: Any = None
        self._pix_fmt = "yuv420p"

    def write(self, pixels: Pixels, frame: "av.VideoFrame") -> None:
        """Encode RGB pixels `(H, W, 3)` with the time and the colour space of a frame."""
        import av

        height, width = (side - side % 2 for side in pixels.shape[:2])  # chroma subsampling needs even sides
        if self._stream is None:
            self._add_stream(width, height, frame)
        rgb = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(pixels[:height, :width]), format="rgb48le" if pixels.dtype == np.uint16 else "rgb24"
        )
        encoded = rgb.reformat(format=self._pix_fmt, dst_colorspace=frame.colorspace)
        encoded.pts, encoded.time_base = frame.pts, frame.time_base
        self._container.mux(self._stream.encode(encoded))

    def _add_stream(self, width: int, height: int, frame: "av.VideoFrame") -> None:
        import av

        name, options = self._codec
        supported = [pixel_format.name for pixel_format in av.Codec(name, "w").video_formats or ()]
        default = "yuv420p10le" if _is_deep(frame) and "yuv420p10le" in supported else "yuv420p"
        self._pix_fmt = frame.format.name if frame.format.name in supported else default
        self._stream = self._container.add_stream(name, rate=self._like.average_rate or 25, options=dict(options))
        context, source = self._stream.codec_context, self._like.codec_context
        context.width, context.height, context.pix_fmt = width, height, self._pix_fmt
        context.time_base = frame.time_base or Fraction(1, 90000)
        if source.sample_aspect_ratio:
            context.sample_aspect_ratio = source.sample_aspect_ratio
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, name, getattr(source, name))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, at: Any) -> None:
        if self._stream is not None and error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def mux(segments: Sequence[Path], source: Path, target: Path) -> None:
    """Write a video from encoded segments and the audio, subtitles and metadata of the source.

    Args:
        segments: Files of `VideoEncoder`, in order.
        source: The original video.
        target: The file to write; its suffix chooses the container format.
    """
    import av

    with (
        av.open(str(source), options=dict(_INPUT_OPTIONS)) as original,
        av.open(str(segments[0])) as first,
        av.open(str(target), "w") as out,
    ):
        video = out.add_stream_from_template(first.streams.video[0])
        video.time_base = original.streams.video[0].time_base
        out.metadata.update(original.metadata)
        copies = {}
        for stream in (*original.streams.audio, *original.streams.subtitles):
            copies[stream.index] = out.add_stream_from_template(stream)
            copies[stream.index].metadata.update(stream.metadata)

        def restored() -> Iterator[Any]:
            for segment in segments:
                with av.open(str(segment)) as container:
                    for packet in container.demux(video=0):
                        if packet.dts is not None:
                            yield packet, video

        def copied() -> Iterator[Any]:
            if not copies:
                return
            for packet in original.demux([stream for stream in original.streams if stream.index in copies]):
                if packet.dts is not None:
                    yield packet, copies[packet.stream.index]

        for packet, stream in heapq.merge(restored(), copied(), key=lambda item: item[0].dts * item[0].time_base):
            packet.stream = stream
            out.mux(packet)


def _is_deep(frame: "av.VideoFrame") -> bool:
    """Return whether a frame has more than 8 bits per component."""
    return max(component.bits for component in frame.format.components) > 8
