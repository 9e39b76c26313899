"""Videos with a given property, and what PyAV reads from a video: for the table of properties that are kept."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np

RNG = np.random.default_rng(0)
SCENE = cv2.resize(RNG.integers(60, 200, (8, 12, 1), np.uint8), (192, 128), interpolation=cv2.INTER_CUBIC)
SCENE = np.stack([SCENE, SCENE // 2 + 40, 255 - SCENE], axis=-1)
RATE = Fraction(24000, 1001)
MASTERING = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
MASTERING_VALUES = [0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329, 0.005, 1000]
"""The same as FFmpeg stores it: red, green, blue, white point, minimum and maximum luminance."""


class Source(NamedTuple):
    """Codec, pixel format and settings of a video."""

    codec: str
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] = {}
    context: Mapping[str, Any] = {}
    """Attributes of the codec context."""
    rotation: tuple[float, bool, bool] | None = None
    """Counterclockwise degrees, horizontal and vertical flip of the display matrix."""
    metadata: Mapping[str, str] = {}
    """Metadata of the video stream."""
    cover: bool = False
    """Whether a cover image is the first stream."""
    tracks: bool = False
    """Whether the file has chapters and an audio stream in German that isn't a default."""
    size: tuple[int, int] = (96, 64)
    """Width and height."""


def write_source(
    path: Path,
    source: Source,
    frames: int = 3,
    times: Sequence[int] | None = None,
    options: Mapping[str, str] = {},
) -> Path:
    """Write a video of a moving scene; `times` in units of 1001/24000 s, `options` of the container."""
    with av.open(str(path), "w", options=dict(options)) as out:
        encoded = cv2.imencode(".png", np.full((32, 32, 3), 90, np.uint8))[1].tobytes()
        if source.cover and path.suffix == ".mkv":
            out.add_attachment("cover.png", "image/png", encoded)
        elif source.cover:
            cover: Any = out.add_stream("png", rate=1, width=32, height=32, pix_fmt="rgb24")
            cover.disposition = av.stream.Disposition.attached_pic
        stream: Any = out.add_stream(source.codec, rate=RATE, options=dict(source.options))
        (width, height), stream.pix_fmt = source.size, source.pix_fmt
        stream.width, stream.height = width, height
        stream.codec_context.time_base = 1 / RATE
        for name, value in source.context.items():
            setattr(stream.codec_context, name, value)
        stream.metadata.update(source.metadata)
        if source.rotation:
            stream.set_display_rotation(*source.rotation)
        if source.tracks:
            _add_tracks(out, path.suffix)
        if source.cover and path.suffix != ".mkv":
            packet = av.Packet(encoded)
            packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, Fraction(1)
            out.mux(packet)
        for i in range(frames):
            rgb = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(SCENE[i : i + height, 2 * i : 2 * i + width]), format="rgb24"
            )
            colours = {} if source.pix_fmt.startswith(("g", "rgb", "a")) else _conversion(source)
            frame = rgb.reformat(format=source.pix_fmt, **colours)
            frame.pts, frame.time_base = times[i] if times else i, 1 / RATE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _conversion(source: Source) -> dict[str, Any]:
    return {
        "dst_color_range": source.context.get("color_range", 0),
        "dst_colorspace": source.context.get("colorspace", 2),
    }


def _add_tracks(out: Any, suffix: str) -> None:
    out.set_chapters([{"id": 1, "start": 0, "end": 50, "time_base": Fraction(1, 1000), "metadata": {"title": "start"}}])
    audio = out.add_stream("libopus" if suffix == ".webm" else "aac", rate=48000)
    audio.metadata["language"] = "deu"
    audio.disposition = av.stream.Disposition.hearing_impaired
    for i in range(5):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 960 * i, Fraction(1, 48000)
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


def observe(path: Path) -> dict[str, Any]:
    """Return what PyAV reads from a video: the first video stream that is no cover image."""
    with av.open(str(path), metadata_errors="surrogateescape") as container:
        covers = [s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic]
        stream = next(s for s in container.streams.video if s not in covers)
        frames: list[Any] = list(container.decode(stream))
        first, components = frames[0], frames[0].format.components
        side_data = {data.type.name: bytes(data) for data in first.side_data}
        mastering = np.frombuffer(side_data.get("MASTERING_DISPLAY_METADATA", b"")[:80], np.int32).reshape(-1, 2)
        return {
            "rate": (stream.average_rate, stream.base_rate),
            "times": [round(1000 * frame.time) for frame in frames],
            "bits": components[0].bits,
            "chroma": [components[-1].width if len(components) > 1 else 0, components[-1].height],
            "colours": (max(1, first.color_range), first.color_primaries, first.color_trc, first.colorspace),
            "aspect": stream.sample_aspect_ratio,
            "mastering": [a / b for a, b in mastering.tolist()],
            "light": np.frombuffer(side_data.get("CONTENT_LIGHT_LEVEL", b""), np.uint32).tolist(),
            "covers": [(s.codec_context.name, s.codec_context.width) for s in covers],
            "chapters": [(c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"]) for c in
                         container.chapters()],
            "audio": [(s.metadata.get("language"), s.disposition) for s in container.streams.audio],
            "rotation": first.rotation,
            "views": side_data.get("STEREO3D", b"")[:4],
            "timecode": stream.metadata.get("timecode", stream.metadata.get("TIMECODE")),
            "language": (stream.metadata.get("language"), stream.metadata.get("title", stream.metadata.get("name"))),
            "pixels": np.stack([frame.to_ndarray(format="gbrp16le") for frame in frames]) / 65535,
        }  # fmt: skip
