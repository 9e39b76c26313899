"""Segments of JPEG files: JFIF, EXIF, XMP, ICC, Photoshop, multi-picture format (CIPA DC-007) and comments."""

import io
import mmap
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from deblurlab.media.metadata_record import Block, Metadata
from deblurlab.media.splice import replace_bytes
from deblurlab.media.tiff_directories import Tag, read_directory

HOLDS = frozenset({"exif", "xmp", "profile", "photoshop", "resolution"})
LIMITS = {"exif": 65_527, "xmp": 65_504}
"""Largest sizes in bytes."""
_EXIF, _XMP, _ICC, _PHOTOSHOP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0"
_ISO_GAIN_MAP, _MPF = b"urn:iso:std:iso:ts:21496:-1\0", b"MPF\0"
_IMAGE, _JFIF = 0xD8, 0xE0
"""Markers of the start of an image, which is that of a gain map in a block, and of the JFIF header."""
_MAX_SEGMENT = 65_533
_GAIN_MAP = re.compile(rb"hdrgm:|hdrgainmap|urn:iso:std:iso:ts:21496", re.IGNORECASE)
_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker in compressed pixels, where 0xff is followed by 0, and restart markers have no segment."""
_PRIMARY, _ENTRIES, _ENTRY = 0x030000, 0xB002, "<IIIHH"
GAIN_MAP = "gain map (Ultra HDR)"


def read(path: Path) -> Metadata:
    """Return what a JPEG file holds besides its pixels."""
    found = Metadata("jpeg")
    profile: dict[int, bytes] = {}
    multi_picture: tuple[int, bytes] | None = None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        end = len(content)
        for marker, start, data in _segments(content):
            if marker == 0xD9:
                end = start
            elif marker == 0xE2 and data.startswith(_ICC) and len(data) > 14:
                profile[data[12]] = data[14:]
            elif marker == 0xE2 and data.startswith(_MPF):
                multi_picture = start + len(_MPF), data[len(_MPF) :]
            else:
                _add(found, marker, data)
        found.profile = b"".join(profile[i] for i in sorted(profile))
        covered = _add_images(found, content, end, *multi_picture) if multi_picture else end
        if len(content[covered:].strip(b"\0\xff\r\n")) > 16:
            found.dropped.append("data after the image, such as the video of a motion photo")
    found.check_transfer(path, 0)
    return found


def write(path: Path, metadata: Metadata) -> None:
    """Put segments after the start of a JPEG file, which has none."""
    aspect = next((block.content for block in metadata.blocks if block.key == _JFIF), b"")
    head = _segment(_JFIF, b"JFIF\0\1\2" + (aspect or _density(metadata.resolution)) + b"\0\0")
    if metadata.exif:
        head += _segment(0xE1, _EXIF + metadata.exif)
    if metadata.xmp:
        head += _segment(0xE1, _XMP + metadata.xmp)
    parts = _split(metadata.profile, _MAX_SEGMENT - 14)
    for i, part in enumerate(parts):
        head += _segment(0xE2, _ICC + bytes([i + 1, len(parts)]) + part)
    for part in _split(metadata.photoshop, _MAX_SEGMENT - len(_PHOTOSHOP)):
        head += _segment(0xED, _PHOTOSHOP + part)
    images = [block.content for block in metadata.blocks if block.key == _IMAGE]
    segments = [block for block in metadata.blocks if block.key not in (_IMAGE, _JFIF)]
    head += b"".join(_segment(block.key, block.content) for block in segments)
    if images:
        head += _multi_picture(images, 2 + len(head), path.stat().st_size + len(head))
    replace_bytes(path, 2, 2, head, b"".join(images))


def _add(found: Metadata, marker: int, data: bytes) -> None:
    if marker == _JFIF and data.startswith(b"JFIF\0") and len(data) >= 12:
        unit, x, y = struct.unpack(">BHH", data[7:12])
        if unit in (1, 2) and x and y:
            scale = {1: 1 / 0.0254, 2: 100}[unit]
            found.resolution = x * scale, y * scale
        elif x != y and x and y:
            found.blocks.append(Block("pixel aspect ratio", data[7:12], marker))
    elif marker == 0xE1 and data.startswith(_EXIF):
        found.exif = found.exif or data[len(_EXIF) :]
    elif marker == 0xE1 and data.startswith(_XMP):
        found.xmp = found.xmp or data[len(_XMP) :]
    elif marker == 0xED and data.startswith(_PHOTOSHOP):
        found.photoshop += data[len(_PHOTOSHOP) :]
    elif marker == 0xEB and b"jumb" in data[:32]:
        found.drop("content credentials (C2PA)")
    elif marker == 0xFE:
        found.blocks.append(Block("comment", data, marker))
    elif 0xE1 <= marker <= 0xEF and marker != 0xEE:  # APP14 says how the old pixels were encoded
        known = {b"http://ns.adobe.com/xmp/extension/\0": "extended XMP", _ISO_GAIN_MAP: GAIN_MAP}
        name = next((known[start] for start in known if data.startswith(start)), f"APP{marker - 0xE0} data")
        found.blocks.append(Block(name, data, marker, sized=name == GAIN_MAP))


def _segments(content: mmap.mmap) -> Iterator[tuple[int, int, bytes]]:
    """Yield marker, position of the content and content of the segments of a JPEG file.

    The end of the image (0xd9) is the last one, with the position after it.
    """
    position = 0
    while marker := _MARKER.search(content, position):
        kind, position = marker[0][-1], marker.end()
        if kind == 0xD9:
            yield kind, position, b""
            return
        if kind in (_IMAGE, 0x01):
            continue
        length = int.from_bytes(content[position : position + 2], "big")
        yield kind, position + 2, content[position + 2 : position + length]
        position += max(length, 2)


def _add_images(found: Metadata, content: mmap.mmap, end: int, base: int, index: bytes) -> int:
    """Add the further images of a multi-picture file, gain maps as blocks, others as lost; return where they end."""
    images = []
    for _, size, offset, *_ in _entries(index):
        image = content[base + offset : base + offset + size] if offset else b""
        if image[:2] == b"\xff\xd8":
            images.append(image)
            end = max(end, base + offset + size)
    maps = [image for image in images if _GAIN_MAP.search(image[:200_000])]
    found.blocks += [Block(GAIN_MAP, image, _IMAGE, sized=True) for image in maps]
    if others := len(images) - len(maps):
        found.dropped.append("the second image (MPO)" if others == 1 else f"{others} further images (MPO)")
    return end


def _entries(index: bytes) -> list[tuple[int, ...]]:
    """Return attributes, size, offset and two dependent images of each entry of a multi-picture index."""
    order, tag = ">" if index[:2] == b"MM" else "<", read_directory(io.BytesIO(index)).get(_ENTRIES)
    value = tag.value if isinstance(tag, Tag) else b""
    return [struct.unpack_from(order + _ENTRY[1:], value, at) for at in range(0, len(value) - 15, 16)]


def _multi_picture(images: list[bytes], position: int, size: int) -> bytes:
    """Return the segment that lists the first image and `images`, which follow it.

    Args:
        images: JPEG files.
        position: Position of the segment in the file.
        size: Size of the first image without this segment.
    """
    count = len(images) + 1
    size += len(_MPF) + 4 + 8 + 2 + 36 + 4 + 16 * count
    entries, offset = struct.pack(_ENTRY, _PRIMARY, size, 0, 0, 0), size - (position + 4 + len(_MPF))
    for image in images:
        entries += struct.pack(_ENTRY, 0, len(image), offset, 0, 0)
        offset += len(image)
    tags = struct.pack("<HHHI4s", 3, 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, count)
    tags += struct.pack("<HHIII", _ENTRIES, 7, len(entries), 50, 0)
    return _segment(0xE2, _MPF + b"II*\0\x08\0\0\0" + tags + entries)


def _density(resolution: tuple[float, float] | None) -> bytes:
    """Return unit and resolution of a JFIF header: per inch, or per centimetre where that is exact."""
    if resolution is None or max(resolution) * 0.0254 > 65_535 or min(resolution) < 40:
        return struct.pack(">BHH", 0, 1, 1)
    inch = [value * 0.0254 for value in resolution]
    if max(abs(value - round(value)) for value in inch) > 0.02 and all(value % 100 == 0 for value in resolution):
        return struct.pack(">BHH", 2, *(round(value / 100) for value in resolution))
    return struct.pack(">BHH", 1, *map(round, inch))


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _split(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]
