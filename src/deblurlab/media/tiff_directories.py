"""Directories of TIFF files and of EXIF: tags with their values, in little-endian order whatever the file's is."""

import io
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Union

_EXIF, _GPS, _INTEROPERABILITY = 34665, 34853, 40965
_NESTED = {0: {_EXIF, _GPS}, _EXIF: {_INTEROPERABILITY}, _GPS: set[int](), _INTEROPERABILITY: set[int]()}
"""Tags with the position of a directory, by the tag of the directory that they are in; 0 is the first directory."""
_MAKER_NOTE = 37500
ORIENTATION = 274
SHORT = 3
"""Type of a number of two bytes."""
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_NUMBERS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a number of each type; a rational is two numbers."""
_MAX_TAGS = 4096
_DAMAGED = (struct.error, ValueError, OverflowError, OSError)
"""Errors of positions outside of the file."""


class Tag(NamedTuple):
    """Type and value of a tag."""

    type: int
    value: bytes


Directory = dict[int, Union[Tag, "Directory"]]


@dataclass(frozen=True)
class _Format:
    order: str
    big: bool

    @property
    def entry(self) -> str:
        return self.order + ("HHQ8s" if self.big else "HHI4s")

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        return self.order + ("Q" if self.big else "H")


def read_directory(file: BinaryIO) -> Directory:
    """Return the first directory of a TIFF file or EXIF, with those that it points to; empty if it is damaged."""
    try:
        layout, start = _header(file)
        return _read(file, layout, start, parent=0)
    except _DAMAGED:
        return {}


def lost_in_tiff(exif: bytes) -> list[str]:
    """Return the names of what EXIF loses when its tags become those of a TIFF file or come from one."""
    file, lost = io.BytesIO(exif), []
    with suppress(*_DAMAGED):
        layout, start = _header(file)
        count = _count(file, layout, start)
        file.seek(count * struct.calcsize(layout.entry), 1)
        if any(file.read(struct.calcsize(layout.pointer))):  # a second directory
            lost.append("EXIF thumbnail")
    details = read_directory(file).get(_EXIF)
    if isinstance(details, dict) and _MAKER_NOTE in details:  # often with positions in the old file
        lost.append("positions in the maker note")
    return lost


def upright(exif: bytes) -> bytes:
    """Return EXIF with the orientation 1, for pixels that are already rotated; nothing else changes."""
    changed, file = bytearray(exif), io.BytesIO(exif)
    with suppress(*_DAMAGED):
        layout, start = _header(file)
        for position, code, kind, length, _ in _entries(file, layout, start):
            if (code, kind, length) == (ORIENTATION, SHORT, 1):
                struct.pack_into(layout.order + "H", changed, position, 1)
    return bytes(changed)


def pack_directory(
    directory: Mapping[int, Tag | Directory], start: int, entries: Mapping[int, bytes], *, big: bool
) -> bytes:
    """Return a little-endian directory with the values of its tags after it.

    Args:
        directory: The tags.
        start: Position of the directory in the file.
        entries: Further tags, as the bytes of their entries.
        big: Whether the file is a BigTIFF.
    """
    layout = _Format("<", big)
    inline, size = struct.calcsize(layout.pointer), struct.calcsize(layout.entry)
    packed, count = dict(entries), len({*entries, *directory})
    values_start, values = start + struct.calcsize(layout.count) + count * size + inline, b""
    for code, tag in directory.items():
        position = values_start + len(values)
        pointer = struct.pack(layout.pointer, position)
        if isinstance(tag, dict):
            values += _even(pack_directory(tag, position, {}, big=big))
            packed[code] = struct.pack(layout.entry, code, 16 if big else 4, 1, pointer)
            continue
        field = tag.value.ljust(inline, b"\0") if len(tag.value) <= inline else pointer
        packed[code] = struct.pack(layout.entry, code, tag.type, len(tag.value) // _SIZES[tag.type], field)
        values += _even(tag.value) if len(tag.value) > inline else b""
    body = b"".join(packed[code] for code in sorted(packed))
    return struct.pack(layout.count, count) + body + bytes(inline) + values


def add_tags(file: BinaryIO, directory: Mapping[int, Tag | Directory], without: frozenset[int]) -> None:
    """Append the directory of a little-endian TIFF file with further tags, and without some, to the file."""
    layout, start = _header(file)
    count = _count(file, layout, start)
    size = struct.calcsize(layout.entry)
    found = [file.read(size) for _ in range(count)]
    kept = {code: entry for entry in found if (code := int.from_bytes(entry[:2], "little")) not in without}
    end = file.seek(0, 2)
    file.write(bytes(end % 2))
    position = file.tell()
    file.write(pack_directory(directory, position, kept, big=layout.big))
    file.seek(8 if layout.big else 4)
    file.write(struct.pack(layout.pointer, position))


def pack_exif(directory: Mapping[int, Tag | Directory]) -> bytes:
    """Return EXIF as a TIFF structure."""
    return b"II*\0\x08\0\0\0" + pack_directory(directory, 8, {}, big=False)


def _header(file: BinaryIO) -> tuple[_Format, int]:
    """Return the format of a TIFF file, and the position of its first directory."""
    file.seek(0)
    start = file.read(16)
    order = ">" if start[:2] == b"MM" else "<"
    (version,) = struct.unpack_from(order + "H", start, 2)
    layout = _Format(order, version == 43)
    return layout, struct.unpack_from(layout.pointer, start, 8 if layout.big else 4)[0]


def _count(file: BinaryIO, layout: _Format, start: int) -> int:
    """Return the number of tags in a directory; its entries follow in the file."""
    file.seek(start)
    return int(struct.unpack(layout.count, file.read(struct.calcsize(layout.count)))[0])


def _entries(file: BinaryIO, layout: _Format, start: int) -> list[tuple[int, int, int, int, bytes]]:
    """Return position of the field, tag, type, number of values and field of each entry of a directory."""
    count, size, found = _count(file, layout, start), struct.calcsize(layout.entry), []
    for _ in range(min(count, _MAX_TAGS)):
        if len(entry := file.read(size)) < size:
            break
        found.append((file.tell() - struct.calcsize(layout.pointer), *struct.unpack(layout.entry, entry)))
    return found


def _read(file: BinaryIO, layout: _Format, start: int, *, parent: int) -> Directory:
    """Return a directory; `parent` is the tag that points to it."""
    entries = _entries(file, layout, start)
    end, found = file.seek(0, 2), Directory()
    for _, code, kind, length, field in entries:
        total = _SIZES.get(kind, 0) * length
        if not total or total > end:
            continue
        if total > len(field):
            file.seek(struct.unpack(layout.pointer, field)[0])
            value = file.read(total)
        else:
            value = field[:total]
        if len(value) < total:
            continue
        value = _little_endian(value, kind, layout.order)
        if code in _NESTED[parent]:
            with suppress(*_DAMAGED):
                found[code] = _read(file, layout, int.from_bytes(value, "little"), parent=code)
        elif code not in _NESTED:
            found[code] = Tag(kind, value)
    return found


def _little_endian(value: bytes, kind: int, order: str) -> bytes:
    width = _NUMBERS.get(kind, 1)
    if order == "<" or width == 1:
        return value
    return b"".join(value[i : i + width][::-1] for i in range(0, len(value), width))


def _even(value: bytes) -> bytes:
    return value + bytes(len(value) % 2)
