"""Completeness of MP4, MOV, MKV and WebM files, from the lengths that they declare."""

from pathlib import Path
from typing import IO

_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


def missing_end(path: Path) -> str:
    """Return in which way the end of a video file is missing; empty if it is complete or no video."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        file.seek(0)
        if start[:4] == _EBML:
            return _missing_matroska(file, size)
        return _missing_boxes(file, size) if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free") else ""


def _missing_boxes(file: IO[bytes], size: int) -> str:
    """Check the boxes of an ISO base media file (ISO/IEC 14496-12, section 4.2)."""
    end, kinds = 0, set()
    while end < size:
        file.seek(end)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length == 0:  # up to the end of the file
            length = size - end
        if length < 8:
            return ""  # no box: the decoder decides
        end += length
        kinds.add(kind)
    if end > size:
        return f"it ends after {size} of {end} bytes or more"
    return "" if b"moov" in kinds else "its index (moov) is missing, as after an interrupted recording or transfer"


def _missing_matroska(file: IO[bytes], size: int) -> str:
    """Check the length of the segment of a Matroska file (RFC 8794, section 4; RFC 9559, section 4.5)."""
    end = 0
    for identifier in (_EBML, _SEGMENT):
        file.seek(end)
        header = file.read(12)
        if not header.startswith(identifier):
            return ""
        count = 9 - header[4].bit_length() if len(header) > 4 and header[4] else 0
        mask = (1 << 7 * count) - 1
        length = int.from_bytes(header[4 : 4 + count], "big") & mask
        if not count or length == mask:  # of unknown length, as in live recordings
            return ""
        end += 4 + count + length
    return f"it ends after {size} of {end} bytes" if end > size else ""
