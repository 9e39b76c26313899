"""Decoding of video files with PyAV."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurlab.errors import UserError, first_sentence
from deblurlab.media.containers import missing_end
from deblurlab.media.pixels import Pixels
from deblurlab.media.signatures import IMAGE, file_kind
from deblurlab.media.video_properties import VideoProperties, read_properties

if TYPE_CHECKING:  # PyAV loads FFmpeg
    import av

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm"}
_INPUT_OPTIONS = {"format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm", "protocol_whitelist": "file"}
"""Formats that FFmpeg may read. Playlists and scripts, which name other files, are excluded."""
_CONTAINERS = {"MP4": ".mp4 or .mov", "MOV": ".mov", "Matroska": ".mkv or .webm"}
"""Suffixes of the containers that `file_kind` names."""
COPIED = ("audio", "subtitle", "video", "attachment")
"""Types of streams that are copied."""
_NEVER_READ = 48
"""Discard level of a stream that FFmpeg represents otherwise, such as that of chapters."""
ATTACHED_PICTURE = 1 << 10
"""Disposition of a stream that is a cover image."""


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
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS):
            if error.filename == str(source):
                raise UserError(f"{source} can't be read: {error.strerror}") from error
            raise UserError(
                f"{target} couldn't be written ({first_sentence(error)}): run the same command again to resume"
            ) from error
        missing = missing_end(source) if source.is_file() else ""
        reason = f"it is incomplete ({missing})" if missing else first_sentence(error)
        raise UserError(f"{source} can't be read as a video: {reason}") from error


def content_error(path: Path) -> str:
    """Return the message for a file that isn't restored because of its content; empty for other files.

    It is a video in another container or with the suffix of an image, or an image with the suffix of a video.
    """
    try:
        kind, is_video = file_kind(path), path.suffix.lower() in SUFFIXES
    except OSError:  # the reader's message says why
        return ""
    if kind == IMAGE and is_video:
        return f"{path} is an image, not a video: give it the suffix of its format, such as .png"
    if kind in ("", IMAGE) or (is_video and kind in _CONTAINERS):
        return ""
    if kind in _CONTAINERS:
        return f"{path} is a video ({kind}): give it the suffix {_CONTAINERS[kind]}"
    return f"{path} is a video ({kind}), which can't be restored: convert it to MP4, MOV, MKV or WebM"


def open_container(path: Path) -> Any:
    """Open a video file; metadata that isn't UTF-8 is kept as it is."""
    import av

    return av.open(str(path), options=dict(_INPUT_OPTIONS), metadata_errors="surrogateescape")


def main_stream(path: Path, container: Any) -> Any:
    """Return the video stream that is restored: the one that FFmpeg prefers, but no cover image.

    Raises:
        UserError: There is none, or its codec is unknown.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & ATTACHED_PICTURE]
    if not streams:
        raise UserError(f"{path} has no video stream")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise UserError(f"the video of {path} has a codec that FFmpeg can't decode: convert it first")
    return stream


@dataclass
class VideoReader:
    """The main video stream of a file; see `open_video`."""

    path: Path
    container: Any
    stream: Any
    first: Any
    """The first frame."""
    properties: VideoProperties
    not_kept: list[str]
    """Names of streams and properties that a restored video lacks."""
    broken: int = 0
    """Number of frames that couldn't be decoded completely."""

    @property
    def duration(self) -> float:
        """Duration in seconds, 0 if it is unknown."""
        return float(self.container.duration or 0) / 1e6

    @property
    def rate(self) -> Fraction:
        """Average frame rate."""
        return Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the upright frames."""
        height, width = self.first.height, self.first.width
        return (width, height) if self.properties.orientation.transpose else (height, width)

    def frames(self) -> Iterator["av.VideoFrame"]:
        """Yield all frames that can be decoded and have increasing times; count the others in `broken`.

        Raises:
            UserError: A frame has another size, pixel format or orientation than the first one, or only one of the two
                is interlaced.
        """
        last = None
        for frame in _decode(self.container, self.stream):
            if frame is None or frame.pts is None or (last is not None and frame.pts <= last):
                self.broken += 1
                continue
            last = frame.pts
            if _constants(frame) != _constants(self.first):
                raise UserError(
                    f"the frames of {self.path} change their size, format, orientation or interlacing after "
                    f"{frame.time or 0:.2f} s: split it there"
                )
            self.broken += bool(frame.is_corrupt)
            yield frame

    def pixels(self, frame: "av.VideoFrame") -> Pixels:
        """Return the upright pixels of a frame: `(H, W, 1)` (grey) or `(H, W, 3)`, uint8 or, above 8 bits, uint16."""
        pixels = frame.to_ndarray(format=self.properties.array_format)
        return self.properties.orientation.apply(pixels.reshape(*pixels.shape[:2], -1))


@contextmanager
def open_video(path: Path, max_pixels: int) -> Iterator[VideoReader]:
    """Open a video file for decoding.

    Raises:
        UserError: The file has no video stream, no frame that can be decoded, frames with more pixels than
            `max_pixels`, or frames that can't be converted.
    """
    with open_container(path) as container:
        stream, data = _limited_stream(path, container, max_pixels), _data_streams(container)
        first = next((frame for frame in _decode(container, stream) if frame is not None), None)
        if first is None:
            missing = missing_end(path)
            reason = f": it is incomplete ({missing})" if missing else ""
            raise UserError(f"{path} holds no frame that can be decoded{reason}")
        properties = read_properties(path, stream, first)
    with open_container(path) as container:
        stream = _limited_stream(path, container, max_pixels)
        yield VideoReader(path, container, stream, first, properties, properties.not_kept + data)


def _data_streams(container: Any) -> list[str]:
    """Return the names of data streams, except those that FFmpeg reads as chapters and time codes.

    Decoding changes the discard level by which chapters are recognised.
    """
    return [
        f"data stream {stream.metadata.get('handler_name', stream.index)}"
        for stream in container.streams
        if stream.type not in COPIED and "timecode" not in stream.metadata and stream.discard != _NEVER_READ
    ]


def _limited_stream(path: Path, container: Any, max_pixels: int) -> Any:
    """Return the main stream, whose decoder refuses frames with more than `max_pixels`."""
    stream = main_stream(path, container)
    context = stream.codec_context
    if context.width * context.height > max_pixels:
        raise UserError(f"the frames of {path} have more than --max-pixels {max_pixels}")
    context.options = {"max_pixels": str(max_pixels)}  # for frames larger than the header declares
    return stream


def _decode(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of a stream, and None for data that can't be decoded."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.InvalidDataError:
            yield None
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:  # decoders outside of FFmpeg raise other errors than InvalidDataError
            yield None
        else:
            yield from frames


def _constants(frame: "av.VideoFrame") -> tuple[Any, ...]:
    """Return what all frames of a video have in common."""
    return frame.width, frame.height, frame.format.name, frame.rotation, frame.interlaced_frame
