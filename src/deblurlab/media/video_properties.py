"""Properties of videos: read from a file, converted where the encoder needs it, compared with those of the result."""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from deblurlab.errors import UserError
from deblurlab.media.pixels import Orientation

_DEEPEST = 10
"""Bits per component that H.264 stores at most."""
_LIMITED, _FULL = 1, 2
_RGB, _BT709, _UNSPECIFIED = 0, 1, 2
_MATRICES = {_RGB, _BT709, _UNSPECIFIED, 4, 5, 6, 7, 9}
"""Numbers of the matrices (ITU-T H.273) that FFmpeg converts to RGB."""
_RESERVED = {0, 3}
"""Numbers of primaries and transfer functions without a meaning, which are stored as unspecified."""
_SIDE_DATA = {
    "DOVI_METADATA": "Dolby Vision",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "ICC_PROFILE": "a colour profile",
    "SPHERICAL": "a spherical projection",
    "STEREO3D": "two views (3D)",
}
"""Side data of frames without which they are shown in another way."""
_NAMED_SIDE_DATA = {
    "A53_CC": "closed captions",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
    "GOP_TIMECODE": "time codes",
    "S12M_TIMECODE": "time codes",
}
"""Further side data that isn't kept."""


@dataclass(frozen=True)
class VideoProperties:
    """Properties of a video stream that decide how its frames are shown."""

    bits: int
    """Bits per component."""
    layout: str
    """`grey`, `rgb`, or the chroma subsampling: `420`, `422`, `444`."""
    transparent: bool
    interlaced: bool
    orientation: Orientation
    aspect: Fraction
    """Width of a pixel divided by its height; 0 if it is unspecified."""
    range: int
    """Range of the components: 1 (limited), 2 (full) or 0 (unspecified, which is limited)."""
    primaries: int
    """Colour primaries, transfer function and matrix: numbers of ITU-T H.273."""
    transfer: int
    matrix: int
    mastering: str
    """Mastering display colour volume (SMPTE ST 2086) in the notation of x264; empty if there is none."""
    light: str
    """Maximum content and frame-average light level (CTA-861.3), separated by a comma; empty if there is none."""
    side_data: frozenset[str]
    """Names of the side data in `_SIDE_DATA`."""
    other_data: frozenset[str]
    """Names of the side data in `_NAMED_SIDE_DATA`."""

    @property
    def deep(self) -> bool:
        """Whether components have more than 8 bits."""
        return self.bits > 8

    @property
    def array_format(self) -> str:
        """Pixel format of the arrays that are restored."""
        if self.layout == "grey":
            return "gray16le" if self.deep else "gray"
        return "gbrp16le" if self.deep else "rgb24"  # FFmpeg's conversion of 4:2:0 of odd width to rgb48le is wrong

    @property
    def encoded_format(self) -> str:
        """Pixel format of the encoder, for the result of `converted`."""
        return f"yuv{self.layout}p{'10le' if self.deep else ''}"

    def converted(self) -> "VideoProperties":
        """Return the properties of the restored video.

        Frames are turned upright. Grey is stored as the luma of full range, RGB as 4:4:4 with the matrix of BT.709,
        both with as many bits as H.264 has.
        """
        bits = _DEEPEST if self.deep else 8
        aspect = 1 / self.aspect if self.aspect and self.orientation.transpose else self.aspect
        matrix = _UNSPECIFIED if self.matrix == _RGB else self.matrix
        upright = replace(self, bits=bits, aspect=aspect, orientation=Orientation(), matrix=matrix)
        if self.layout == "grey":
            return replace(upright, layout="420", range=_FULL)
        if self.layout == "rgb":
            return replace(upright, layout="444", range=_LIMITED, matrix=_BT709)
        return upright

    def encoded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the encoded frames: even ones if the chroma is subsampled."""
        return (height, width) if self.layout == "444" else (height - height % 2, width - width % 2)

    @property
    def not_kept(self) -> list[str]:
        """Names of properties that are left out or stored with less precision."""
        precision = [f"{self.bits} bits per component ({_DEEPEST} are stored)"] if self.bits > _DEEPEST else []
        return precision + sorted(self.other_data)

    def lost(self, result: "VideoProperties", width: int) -> list[str]:
        """Return the names of the properties that `result`, `width` pixels wide, doesn't have."""
        names = {
            "bits": f"{self.bits} bits per component",
            "layout": f"chroma {':'.join(self.layout)}",
            "transparent": "transparency",
            "interlaced": "interlaced frames",
            "orientation": "an orientation",
            "primaries": f"colour primaries {self.primaries}",
            "transfer": f"transfer function {self.transfer}",
            "matrix": f"colour matrix {self.matrix}",
            "mastering": "HDR mastering display metadata",
            "light": "HDR content light level",
        }
        lost = [text for name, text in names.items() if getattr(self, name) != getattr(result, name)]
        if (self.range == _FULL) != (result.range == _FULL):
            lost.append("another range of its components")
        if (
            abs(float(self.aspect or 1) - float(result.aspect or 1)) * width > 1
        ):  # Matroska stores the width in whole pixels
            lost.append(f"pixels of aspect ratio {self.aspect.numerator}:{self.aspect.denominator}")
        return lost + sorted(self.side_data - result.side_data)


def read_properties(path: Path, stream: Any, frame: Any) -> VideoProperties:
    """Return the properties of a video stream and its first frame.

    Raises:
        UserError: The frames can't be converted to upright RGB.
    """
    side_data = {data.type.name: bytes(data) for data in frame.side_data}
    orientation = _orientation(side_data.get("DISPLAYMATRIX"))
    if orientation is None:
        raise UserError(f"the frames of {path} are turned by an angle that is no quarter turn: turn them upright first")
    if frame.format.name.endswith(("f16le", "f16be", "f32le", "f32be")) or frame.format.is_bayer:
        raise UserError(f"the pixels of {path} are of type {frame.format.name}: convert them to RGB of 8 to 16 bits")
    matrix = frame.colorspace
    if matrix not in _MATRICES:
        raise UserError(f"the colours of {path} have the matrix {matrix}, which FFmpeg can't convert to RGB")
    layout = _layout(frame.format)
    if not any(side_data.get("STEREO3D", b"")[:4]):  # two-dimensional
        side_data.pop("STEREO3D", None)
    return VideoProperties(
        bits=max(component.bits for component in frame.format.components),
        layout=layout,
        transparent=any(component.is_alpha for component in frame.format.components)
        or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1",
        interlaced=frame.interlaced_frame or stream.codec_context.field_order > 1,
        orientation=orientation,
        aspect=stream.sample_aspect_ratio or Fraction(0),
        range=int(frame.color_range),
        primaries=_UNSPECIFIED if frame.color_primaries in _RESERVED else int(frame.color_primaries),
        transfer=_UNSPECIFIED if frame.color_trc in _RESERVED else int(frame.color_trc),
        matrix=matrix,
        mastering=_mastering(side_data.get("MASTERING_DISPLAY_METADATA")),
        light=_light(side_data.get("CONTENT_LIGHT_LEVEL")),
        side_data=frozenset(_SIDE_DATA[name] for name in side_data if name in _SIDE_DATA),
        other_data=frozenset(_NAMED_SIDE_DATA[name] for name in side_data if name in _NAMED_SIDE_DATA),
    )


def _layout(pixel_format: Any) -> str:
    """Return `VideoProperties.layout`; 4:1:1 and 4:4:0, which H.264 lacks, become 4:2:2 and 4:4:4."""
    colours = [component for component in pixel_format.components if not component.is_alpha]
    if pixel_format.is_rgb or pixel_format.has_palette:
        return "rgb"
    if len(colours) == 1:
        return "grey"
    if pixel_format.chroma_width(16) == 16:
        return "444"
    return "422" if pixel_format.chroma_height(16) == 16 else "420"


def _orientation(matrix: bytes | None) -> Orientation | None:
    """Return the orientation of a display matrix; None if it isn't a quarter turn or a reflection.

    A pixel (x, y) is shown at (a x + c y, b x + d y); the matrix is stored as a, b, u, c, d, v, x, y, w.
    """
    if matrix is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if a and d and not b and not c:
        return Orientation(flip_vertical=d < 0, flip_horizontal=a < 0)
    if b and c and not a and not d:
        return Orientation(transpose=True, flip_vertical=b < 0, flip_horizontal=c < 0)
    return None


def _mastering(data: bytes | None) -> str:
    """Return `VideoProperties.mastering` of FFmpeg's AVMasteringDisplayMetadata."""
    if data is None:
        return ""
    numbers = np.frombuffer(data, np.int32)
    red, green, blue, white = (
        [round(50000 * x / max(y, 1)) for x, y in pair] for pair in numbers[:16].reshape(4, 2, 2).tolist()
    )
    darkest, brightest = (round(10000 * x / max(y, 1)) for x, y in numbers[16:20].reshape(2, 2).tolist())
    points = {"G": green, "B": blue, "R": red, "WP": white}
    return "".join(f"{name}({x},{y})" for name, (x, y) in points.items()) + f"L({brightest},{darkest})"


def _light(data: bytes | None) -> str:
    """Return `VideoProperties.light` of FFmpeg's AVContentLightMetadata."""
    return ",".join(map(str, np.frombuffer(data, np.uint32)[:2].tolist())) if data is not None else ""
