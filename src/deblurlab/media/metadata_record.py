"""Record of everything that an image file holds besides its pixels."""

import io
import struct
from dataclasses import dataclass, field
from typing import Any

from deblurlab.errors import UserError
from deblurlab.media.tiff_directories import ORIENTATION, SHORT, Tag, read_directory

_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of ITU-T H.273 whose values are no standard dynamic range."""


@dataclass(frozen=True)
class Block:
    """A part of a file that only files of the same format can hold."""

    name: str
    """Name for the user, such as "comment"; empty if nothing is lost without it."""
    content: bytes
    """Content of a PNG chunk or a JPEG segment, value of a TIFF tag."""
    key: Any = None
    """Type of the PNG chunk, marker of the JPEG segment, code and type of the TIFF tag."""
    colour: bool = False
    """Whether the colours are wrong without it."""
    sized: bool = False
    """Whether it holds only for images of the same size."""


@dataclass
class Metadata:
    """Contents of an image file besides its pixels. A reader fills it, a writer applies it or lists what is lost."""

    kind: str
    """Format of the file: png, jpeg, tiff, webp, bmp, avif or heif."""
    exif: bytes = b""
    """EXIF as a TIFF structure."""
    xmp: bytes = b""
    profile: bytes = b""
    """ICC profile."""
    photoshop: bytes = b""
    """Photoshop's image resources, which contain IPTC."""
    resolution: tuple[float, float] | None = None
    """Pixels per metre, horizontally and vertically."""
    blocks: list[Block] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Names of contents that no restored file can hold."""
    extra_samples: tuple[int, ...] = ()
    """TIFF's ExtraSamples: 0 is a band without meaning, 2 transparency. Readers give no premultiplied colours (1)."""

    @property
    def orientation(self) -> int:
        """EXIF orientation, 1 to 8; 1 if there is none."""
        tag = read_directory(io.BytesIO(self.exif)).get(ORIENTATION)
        found = int.from_bytes(tag.value, "little") if isinstance(tag, Tag) and tag.type == SHORT else 1
        return found if 1 <= found <= 8 else 1

    def drop(self, name: str) -> None:
        """Add a name to `dropped`, once."""
        if name not in self.dropped:
            self.dropped.append(name)

    def drop_damaged_exif(self) -> None:
        """Remove EXIF that has no header, which other programs can't read."""
        if self.exif and self.exif[:4] not in (b"II*\0", b"MM\0*"):
            self.exif = b""
            self.dropped.append("damaged EXIF")

    def check_transfer(self, name: object, transfer: int) -> None:
        """Raise UserError if a transfer characteristic of H.273, or the one in the profile, is that of HDR."""
        for value in (transfer, _profile_transfer(self.profile)):
            if value in _HDR_TRANSFERS:
                kind = _HDR_TRANSFERS[value]
                raise UserError(f"{name} is HDR ({kind}): convert it to grey or RGB with standard dynamic range")


def _profile_transfer(profile: bytes) -> int:
    """Return the transfer characteristic in the tag `cicp` of an ICC profile (ICC.1:2022), 0 if there is none."""
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for i in range(min(count, 200)):
            name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * i)
            if name == b"cicp":
                return profile[offset + 9]
    except (struct.error, IndexError):
        pass
    return 0
