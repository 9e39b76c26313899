"""Encoding and muxing of restored videos."""

import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from deblurlab.errors import UserError
from deblurlab.media.pixels import Pixels
from deblurlab.media.video import ATTACHED_PICTURE, COPIED, VideoReader, main_stream, open_container
from deblurlab.media.video_properties import VideoProperties, read_properties

if TYPE_CHECKING:  # PyAV loads FFmpeg
    import av

_ENCODERS = {".webm": ("libvpx-vp9", {"crf": "20", "b": "0", "auto-alt-ref": "0"})}
_PICTURES = {"mjpeg": "jpeg"}
"""Media types of cover images by codec, where they differ."""
_H264 = "libx264", {"crf": "16", "bf": "0"}  # no B-frames, so that segments can be concatenated


class VideoEncoder:
    """Encoder of a file (in the format NUT) with one video stream. A context manager.

    Args:
        path: The file to write.
        reader: The source, whose frame rate and properties the stream has as far as the encoder can store them.
        suffix: Suffix of the final video, which chooses the codec: VP9 for .webm, otherwise H.264.
    """

    def __init__(self, path: Path, reader: VideoReader, suffix: str) -> None:
        import av

        self._container = av.open(str(path), "w", format="nut")
        self._reader, self._suffix = reader, suffix
        self._stream: Any = None

    def write(self, pixels: Pixels, frame: "av.VideoFrame") -> None:
        """Encode pixels `(H, W, 1)` (grey) or `(H, W, 3)` (RGB) with the time of a frame."""
        import av

        properties = self._reader.properties.converted()
        height, width = properties.encoded_size(*pixels.shape[:2])
        if self._stream is None:
            self._add_stream(width, height, frame)
        array = pixels[:height, :width, 0] if pixels.shape[2] == 1 else pixels[:height, :width]
        array_format = self._reader.properties.array_format
        encoded = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format=array_format).reformat(
            format=self._stream.codec_context.pix_fmt,
            dst_colorspace=properties.matrix,
            dst_color_range=properties.range,
        )
        encoded.pts, encoded.time_base = frame.pts, frame.time_base
        self._container.mux(self._stream.encode(encoded))

    def _add_stream(self, width: int, height: int, frame: "av.VideoFrame") -> None:
        import av

        codec, options = _ENCODERS.get(self._suffix.lower(), _H264)
        properties = self._reader.properties.converted()
        if codec == "libx264":
            values = {"mastering-display": properties.mastering, "cll": properties.light}
            options = options | {"x264-params": ":".join(f"{name}={value}" for name, value in values.items() if value)}
        self._stream = self._container.add_stream(codec, rate=self._reader.rate, options=options)
        context = self._stream.codec_context
        formats = [pixel_format.name for pixel_format in av.Codec(codec, "w").video_formats or ()]
        wanted = properties.encoded_format
        context.pix_fmt = wanted if wanted in formats else "yuv420p"
        context.width, context.height = width, height
        context.time_base = frame.time_base or Fraction(1, 90000)
        _tag(context, properties)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, at: Any) -> None:
        if self._stream is not None and error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def check_support(source: Path, reader: VideoReader, folder: Path, suffix: str) -> None:
    """Encode and mux the first frame in a folder, and compare its properties with those of the source.

    Raises:
        UserError: The restored video would lose a property, or its container can't store a stream of the source.
    """
    import av

    segment, trial = folder / "trial.segment", folder / f"trial{suffix}"
    try:
        with VideoEncoder(segment, reader, suffix) as encoder:
            frame = reader.first
            encoder.write(reader.pixels(frame), frame)
        try:
            mux([segment], source, trial, reader, headers_only=True)
        except (ValueError, av.error.FFmpegError) as error:
            if isinstance(error, OSError):  # of the disk
                raise
            raise UserError(
                f"{source} can't be restored to a {suffix} file: {error}: choose another suffix or convert it first"
            ) from error
        with open_container(trial) as container:
            stream = container.streams.video[0]
            result = read_properties(trial, stream, next(container.decode(stream)))
    finally:
        segment.unlink(missing_ok=True)
        trial.unlink(missing_ok=True)
    lost = reader.properties.converted().lost(result, frame.width)
    if lost:
        remedy = "deinterlace it first" if "interlaced frames" in lost else "convert it first"
        if suffix == ".webm" and not reader.properties.transparent:
            remedy += ", or choose -o with the suffix .mkv"
        raise UserError(f"{source} has {' and '.join(lost)}, which a restored {suffix} file can't keep: {remedy}")


def mux(
    segments: Sequence[Path], source: Path, target: Path, reader: VideoReader, *, headers_only: bool = False
) -> None:
    """Write a video from encoded segments and the other streams, chapters and metadata of the source.

    Args:
        segments: Files of `VideoEncoder`, in order.
        source: The original video.
        target: The file to write; its suffix chooses the container format.
        reader: The reader of the source.
        headers_only: Write the headers of the other streams without their packets.
    """
    import av

    with (
        open_container(source) as original,
        av.open(str(segments[0])) as first,
        av.open(str(target), "w", metadata_errors="surrogateescape") as out,
    ):
        main = main_stream(source, original)
        video = out.add_stream_from_template(first.streams.video[0])
        video.time_base = main.time_base
        video.codec_context.framerate = reader.rate
        _tag(video.codec_context, reader.properties.converted())
        video.disposition = main.disposition
        video.metadata.update({key: value for key, value in main.metadata.items() if key.lower() != "alpha_mode"})
        out.metadata.update(original.metadata)
        out.set_chapters(original.chapters())
        copies = {}
        for stream in original.streams:
            if stream.type in COPIED and stream.index != main.index:
                copies[stream.index] = _add_copy(out, stream, source)
        packets = [] if headers_only else _copied(original, copies)
        merged = heapq.merge(_restored(segments, video), packets, key=lambda item: item[0].dts * item[0].time_base)
        for packet, stream in merged:
            packet.stream = stream
            try:
                out.mux(packet)
            except av.error.ArgumentError as error:
                raise UserError(
                    f"a {target.suffix} file can't store the times of the {stream.type} of {source}"
                ) from error


def _restored(segments: Sequence[Path], video: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the packets of segments, each with the stream that it is written to."""
    import av

    for segment in segments:
        with av.open(str(segment)) as container:
            for packet in container.demux(video=0):
                if packet.size:
                    packet.dts = packet.pts  # there are no B-frames; the format NUT has no dts
                    yield packet, video


def _add_copy(out: Any, stream: Any, source: Path) -> Any:
    """Add a stream to an output container that another one is copied to."""
    if out.format.name == "matroska" and stream.disposition & ATTACHED_PICTURE:
        name = stream.metadata.get("filename", "cover").encode(errors="surrogateescape").decode(errors="replace")
        codec = stream.codec_context.name
        kind = stream.metadata.get("mimetype", f"image/{_PICTURES.get(codec, codec)}")
        return out.add_attachment(name, kind, _picture(source, stream.index))
    if stream.codec_context is None and stream.type != "attachment":
        raise ValueError(f"the codec of its {stream.type} stream {stream.index} is unknown")
    copy = out.add_stream_from_template(stream, opaque=True)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    if stream.type == "video":
        copy.codec_context.framerate = stream.average_rate or 0
    return copy


def _picture(source: Path, index: int) -> bytes:
    """Return the cover image of a stream."""
    with open_container(source) as container:
        return bytes(next(packet for packet in container.demux(container.streams[index]) if packet.size))


def _copied(original: Any, copies: dict[int, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the packets of the other streams, each with the stream that it is written to.

    Times that decrease, which muxers refuse, are raised, as FFmpeg does.
    """
    streams = [
        stream for stream in original.streams if stream.index in copies and copies[stream.index].type != "attachment"
    ]
    last: dict[int, int] = {}
    for packet in original.demux(streams) if streams else ():
        index = packet.stream.index
        if packet.size and packet.stream.disposition & ATTACHED_PICTURE:
            packet.dts = packet.pts = 0
        if packet.dts is not None:
            packet.dts = last[index] = max(packet.dts, last.get(index, packet.dts))
            packet.pts = max(packet.dts, packet.dts if packet.pts is None else packet.pts)
            yield packet, copies[index]


def _tag(context: Any, properties: VideoProperties) -> None:
    """Set the aspect ratio and the colour properties of a codec context."""
    context.sample_aspect_ratio = properties.aspect
    context.color_range, context.colorspace = properties.range, properties.matrix
    context.color_primaries, context.color_trc = properties.primaries, properties.transfer
