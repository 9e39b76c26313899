"""Chunks of WebP files (RFC 9649)."""

import struct
from pathlib import Path

from deblurlab.media.metadata_record import Metadata
from deblurlab.media.splice import replace_bytes

HOLDS = frozenset({"exif", "xmp", "profile"})
_FLAGS = {b"ICCP": 0x20, b"ALPH": 0x10, b"EXIF": 0x08, b"XMP ": 0x04}
_PIXELS = (b"VP8 ", b"VP8L", b"ALPH")


def read(path: Path) -> Metadata:
    """Return what a WebP file holds besides its pixels."""
    found = Metadata("webp")
    for kind, start, size in _chunks(path, path.stat().st_size):
        if kind in (b"ICCP", b"EXIF", b"XMP "):
            with path.open("rb") as file:
                file.seek(start)
                content = file.read(size)
            match kind:
                case b"ICCP":
                    found.profile = content
                case b"EXIF":
                    found.exif = content.removeprefix(b"Exif\0\0")
                case _:
                    found.xmp = content
        elif kind not in (*_PIXELS, b"VP8X", b"ANIM", b"ANMF"):
            found.dropped.append(f"chunk {kind.decode('ascii', 'replace')}")
    found.check_transfer(path, 0)
    return found


def write(path: Path, metadata: Metadata, width: int, height: int, *, alpha: bool) -> None:
    """Put chunks around the pixels of a WebP file."""
    if not (metadata.profile or metadata.exif or metadata.xmp):
        return
    size = path.stat().st_size
    pixels = [(start, start + length + length % 2) for kind, start, length in _chunks(path, size) if kind in _PIXELS]
    begin, end = pixels[0][0] - 8, pixels[-1][1]
    before = [(b"ICCP", metadata.profile)] if metadata.profile else []
    after = [(kind, data) for kind, data in ((b"EXIF", metadata.exif), (b"XMP ", metadata.xmp)) if data]
    flags = sum(_FLAGS[kind] for kind, _ in before + after) | (_FLAGS[b"ALPH"] if alpha else 0)
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    head = b"".join(_chunk(*chunk) for chunk in [(b"VP8X", struct.pack("<I", flags) + sides), *before])
    tail = b"".join(_chunk(*chunk) for chunk in after)
    total = 4 + len(head) + end - begin + len(tail)
    with path.open("rb+") as file:
        file.truncate(end)
    replace_bytes(path, 0, begin, struct.pack("<4sI4s", b"RIFF", total, b"WEBP") + head, tail)


def _chunks(path: Path, size: int) -> list[tuple[bytes, int, int]]:
    """Return type, start of the content and size of the content of each chunk."""
    found, position = [], 12
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            kind, length = struct.unpack("<4sI", file.read(8))
            found.append((kind, position + 8, min(length, size - position - 8)))
            position += 8 + length + length % 2
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2)
