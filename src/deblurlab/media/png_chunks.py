"""Chunks of PNG files (ISO/IEC 15948, third edition)."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from deblurlab.errors import UserError
from deblurlab.media.metadata_record import Block, Metadata
from deblurlab.media.splice import replace_bytes

HOLDS = frozenset({"exif", "xmp", "profile", "resolution"})
_XMP = b"XML:com.adobe.xmp"
_COLOUR = {b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI"}
_SRGB_VALUES = {
    b"sRGB": None,
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"cICP": b"\1\r\0\1",
}
"""Content of colour chunks that means sRGB, which is also the meaning of a file without them; None is any content."""
_TEXT = {b"tEXt", b"zTXt", b"iTXt"}
_NOT_KEPT = {
    b"bKGD": "background colour", b"sBIT": "significant bits", b"caBX": "content credentials (C2PA)",
    b"hIST": "palette histogram", b"sPLT": "suggested palette",
}  # fmt: skip
"""Chunks that don't hold for the restored pixels."""
_PIXELS = {b"tRNS", b"iDOT"}
"""Chunks that say how the pixels are stored."""
_SIZES = {b"pHYs": 9, b"cICP": 4, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"mDCV": 24, b"cLLI": 8}
_DAMAGED = b""
_MAX_INFLATED = 1 << 26


def read(path: Path) -> Metadata:
    """Return what a PNG file holds besides its pixels.

    Raises:
        UserError: The colours are HDR.
    """
    found, kinds = Metadata("png"), set[bytes]()
    with path.open("rb") as file:
        for kind, content in _chunks(file):
            if kind not in _SIZES or kind not in kinds:  # the first one counts
                _add(found, kind, content, path)
            kinds.add(kind)
    found.check_transfer(path, 0)
    _select_colours(found)
    return found


def write(path: Path, metadata: Metadata) -> None:
    """Put chunks before the pixels of a PNG file, instead of those that its encoder wrote."""
    colours = [_chunk(block.key, block.content) for block in metadata.blocks if block.key in _COLOUR]
    others = [_chunk(block.key, block.content) for block in metadata.blocks if block.key not in _COLOUR]
    if metadata.profile:
        colours.append(_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.profile)))
    if metadata.resolution:
        others.append(_chunk(b"pHYs", struct.pack(">IIB", *map(round, metadata.resolution), 1)))
    if metadata.exif:
        others.append(_chunk(b"eXIf", metadata.exif))
    if metadata.xmp:
        others.append(_chunk(b"iTXt", _XMP + bytes(5) + metadata.xmp))
    with path.open("rb") as file:
        start = next(file.tell() - 12 - len(content) for kind, content in _chunks(file, pixels=True) if kind == b"IDAT")
    replace_bytes(path, 33, start, b"".join(colours + others))  # the signature and IHDR have 33 bytes


def _add(found: Metadata, kind: bytes, content: bytes, path: Path) -> None:
    match kind:
        case _ if kind == _DAMAGED:
            found.drop("a damaged chunk")
        case b"eXIf":
            found.exif = content
        case b"iCCP":
            found.profile = _inflate(content.partition(b"\0")[2][1:])
        case b"iTXt" if content.startswith(_XMP + b"\0"):
            compressed, rest = content[len(_XMP) + 1 : len(_XMP) + 2], content[len(_XMP) + 3 :]
            text = rest.split(b"\0", 2)[-1]
            found.xmp = _inflate(text) if compressed == b"\1" else text
        case b"pHYs" if content[8:] == b"\1" and all(sizes := struct.unpack(">II", content[:8])):
            found.resolution = float(sizes[0]), float(sizes[1])
        case b"pHYs":
            found.blocks.append(Block("pixel aspect ratio", content, kind))
        case _ if kind in _COLOUR:
            if kind == b"cICP":
                found.check_transfer(path, content[1])
            found.blocks.append(Block(f"colour tag {kind.decode()}", content, kind, colour=True))
        case _ if kind in _TEXT:
            keyword = content.partition(b"\0")[0].decode("latin-1")
            found.blocks.append(Block(f"text '{keyword}'", content, kind))
        case _ if kind in _NOT_KEPT:
            found.drop(_NOT_KEPT[kind])
        case b"tIME":
            found.blocks.append(Block("modification time", content, kind))
        case b"sTER":
            found.blocks.append(Block("stereo layout", content, kind, sized=True))
        case _ if kind[:1].islower() and kind not in _PIXELS:
            if kind[3:].islower():  # "safe to copy" when pixels change
                found.blocks.append(Block(f"chunk {kind.decode()}", content, kind))
            else:
                found.drop(f"chunk {kind.decode()}")


def _select_colours(found: Metadata) -> None:
    """Mark the colour chunks that have no effect: those of lower precedence, and those that mean sRGB, the default."""
    kinds = {block.key for block in found.blocks}
    rules = next(
        (rule for rule in ({b"cICP"}, {b"iCCP"}, {b"sRGB"}) if rule & kinds or (found.profile and rule == {b"iCCP"})),
        {b"gAMA", b"cHRM"},
    )
    for i, block in enumerate(found.blocks):
        kind = block.key
        if kind in _COLOUR and (kind not in rules or _SRGB_VALUES[kind] in (None, block.content)):
            found.blocks[i] = replace(block, name="", colour=False)


def _chunks(file: BinaryIO, *, pixels: bool = False) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of each chunk until the file's end, without IDAT unless `pixels` is set.

    The type of a damaged chunk is `_DAMAGED`; libvips ignores it if it doesn't hold pixels.

    Raises:
        UserError: A chunk ends after the file.
    """
    end = file.seek(0, 2)
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if file.tell() + length > end:
            raise UserError(f"{file.name} is damaged or truncated (chunk {kind!r}): replace it")
        if kind == b"IDAT" and not pixels:
            file.seek(length + 4, 1)
            continue
        content, checksum = file.read(length), file.read(4)
        is_whole = checksum == struct.pack(">I", zlib.crc32(kind + content)) and length == _SIZES.get(kind, length)
        yield (kind if is_whole and kind.isalpha() else _DAMAGED), content
        if kind == b"IEND":
            return


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _inflate(content: bytes) -> bytes:
    """Return decompressed bytes; empty if they are damaged or larger than any real profile."""
    inflate = zlib.decompressobj()
    try:
        result = inflate.decompress(content, _MAX_INFLATED)
    except zlib.error:
        return b""
    return result if inflate.eof else b""
