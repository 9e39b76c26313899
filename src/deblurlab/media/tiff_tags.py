"""Tags of TIFF files."""

import io
import struct
from pathlib import Path

from PIL import TiffTags

from deblurlab.errors import UserError
from deblurlab.media.metadata_record import Block, Metadata
from deblurlab.media.tiff_directories import ORIENTATION, SHORT, Directory, Tag, add_tags, pack_exif, read_directory

HOLDS = frozenset({"exif", "xmp", "profile", "photoshop", "resolution"})
_PIXELS = {
    *range(254, 267), 273, *range(277, 282), 284, *range(288, 294), 297, 317, *range(320, 333), 338, 339, 340, 341,
    347, *range(512, 522), 529, 530, 531, 532, 559, 50838, 50839,
}  # fmt: skip
"""Tags that say how the pixels are stored."""
_SUBFILE, _COMPRESSION, _PHOTOMETRIC, _SUB_IMAGES, _DNG_VERSION = 254, 259, 262, 330, 50706
_X, _Y, _UNIT, _DESCRIPTION, _EXTRA = 282, 283, 296, 270, 338
_XMP, _PHOTOSHOP, _PROFILE = 700, 34377, 34675
_EXIF = {270, 271, 272, 274, 305, 306, 315, 316, 18246, 18249, 33432, *range(40091, 40096)}
"""Tags that EXIF has too, besides the resolution."""
_COLOUR = {301, 318, 319}
_METRES = {2: 0.0254, 3: 0.01}
_REDUCED = 1
"""Bit of NewSubfileType that marks a smaller copy of another image."""
_DECODED, _YCBCR, _JPEG = {0, 1, 2, 3}, 6, {6, 7}
"""Values of PhotometricInterpretation that libvips decodes: grey, RGB and palette; YCbCr if JPEG compresses it."""


def read(path: Path) -> Metadata:
    """Return what a TIFF file holds besides its pixels.

    Raises:
        UserError: The first image is the preview of a camera raw file, or libvips would show its numbers as colours.
    """
    with path.open("rb") as file:
        tags = read_directory(file)
    _check_image(path, tags)
    found, exif, others = Metadata("tiff"), Directory(), {}
    for code, tag in tags.items():
        if isinstance(tag, dict) or code in _EXIF:  # the directories of EXIF and GPS, and single tags
            exif[code] = tag
        elif code == _EXTRA:
            kinds = struct.unpack(f"<{len(tag.value) // 2}H", tag.value[: len(tag.value) // 2 * 2])
            found.extra_samples = tuple(2 if kind == 1 else kind for kind in kinds)  # libvips divides by transparency
        elif code in (_XMP, _PHOTOSHOP, _PROFILE):
            setattr(found, {_XMP: "xmp", _PHOTOSHOP: "photoshop", _PROFILE: "profile"}[code], tag.value)
        elif code == _SUB_IMAGES:
            found.dropped.append("further images (SubIFDs)")
        elif code not in _PIXELS:
            others[code] = tag
            tag_name = TiffTags.lookup(code).name.replace("unknown", str(code))
            name = "" if code in (_X, _Y, _UNIT) else f"TIFF tag {tag_name}"
            found.blocks.append(Block(name, tag.value, (code, tag.type), colour=code in _COLOUR))
    found.resolution = _resolution(others)
    if exif.get(ORIENTATION) == Tag(SHORT, b"\1\0"):
        del exif[ORIENTATION]
    if isinstance(description := exif.get(_DESCRIPTION), Tag) and description.value.startswith(b'{"shape"'):
        del exif[_DESCRIPTION]  # tifffile's description of the array
    found.exif = pack_exif(exif) if exif else b""
    found.check_transfer(path, 0)
    return found


def write(path: Path, metadata: Metadata) -> None:
    """Add tags to a TIFF file, instead of those that its encoder wrote."""
    tags = read_directory(io.BytesIO(metadata.exif)) if metadata.exif else Directory()
    replaced = _PIXELS | {_X, _Y, _UNIT, _XMP, _PHOTOSHOP, _PROFILE}
    tags = {code: tag for code, tag in tags.items() if code not in replaced}
    blocks: Directory = {block.key[0]: Tag(block.key[1], block.content) for block in metadata.blocks}
    if metadata.resolution and _X not in blocks:
        x, y = (struct.pack("<II", round(254 * size), 10_000) for size in metadata.resolution)
        tags |= {_X: Tag(5, x), _Y: Tag(5, y), _UNIT: Tag(3, b"\2\0")}
    for code, kind, content in (
        (_XMP, 1, metadata.xmp),
        (_PHOTOSHOP, 7, metadata.photoshop),
        (_PROFILE, 7, metadata.profile),
    ):
        if content:
            tags[code] = Tag(kind, content)
    if metadata.extra_samples:
        tags[_EXTRA] = Tag(3, struct.pack(f"<{len(metadata.extra_samples)}H", *metadata.extra_samples))
    with path.open("rb+") as file:
        add_tags(file, tags | blocks, frozenset({_X, _Y, _UNIT, ORIENTATION}))


def _check_image(path: Path, tags: Directory) -> None:
    """Raise UserError if the first image is a preview, or isn't stored as grey, RGB or palette."""
    if _DNG_VERSION in tags or (_SUB_IMAGES in tags and _number(tags, _SUBFILE) & _REDUCED):
        raise UserError(f"{path} is a camera raw file, whose first image may be a preview: convert it to RGB")
    kind = _number(tags, _PHOTOMETRIC, 1)
    if kind not in _DECODED and not (kind == _YCBCR and _number(tags, _COMPRESSION, 1) in _JPEG):
        names = {value: name for name, value in TiffTags.lookup(_PHOTOMETRIC).enum.items()}
        raise UserError(f"{path} stores its colours as {names.get(kind, kind)}: convert it to grey or RGB")


def _number(tags: Directory, code: int, default: int = 0) -> int:
    tag = tags.get(code)
    return int.from_bytes(tag.value, "little") if isinstance(tag, Tag) else default


def _resolution(tags: dict[int, Tag]) -> tuple[float, float] | None:
    try:
        unit = tags[_UNIT].value[0] if _UNIT in tags else 2
        (a, b), (c, d) = (struct.unpack("<II", tags[code].value) for code in (_X, _Y))
        return (a / b / _METRES[unit], c / d / _METRES[unit]) if a and c else None
    except (KeyError, IndexError, struct.error, ZeroDivisionError):
        return None
