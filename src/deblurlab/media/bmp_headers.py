"""Headers of BMP files, and files with transparency or a colour profile, which Pillow can't write."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from deblurlab.media.metadata_record import Block, Metadata
from deblurlab.media.pixels import Pixels

HOLDS = frozenset({"profile", "resolution"})
_FILE_HEADER, _V4, _V5 = 14, 108, 124
_COLOURS = "<I48s"
_CALIBRATED, _SRGB, _EMBEDDED = 0, 0x73524742, 0x4D424544
_MASKS = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def read(path: Path) -> Metadata:
    """Return what a BMP file holds besides its pixels."""
    found = Metadata("bmp")
    with path.open("rb") as file:
        start = file.read(_FILE_HEADER + _V5)
        if len(start) < 54:
            return found
        (size,) = struct.unpack_from("<I", start, _FILE_HEADER)
        x, y = struct.unpack_from("<ii", start, 38)
        if size >= 40 and x > 0 and y > 0:
            found.resolution = float(x), float(y)
        if size < _V4 or len(start) < _FILE_HEADER + size:
            return found
        kind, colours = struct.unpack_from(_COLOURS, start, _FILE_HEADER + 56)
        if kind == _CALIBRATED and any(colours):
            found.blocks.append(Block("calibrated colours", colours, colour=True))
        if kind == _EMBEDDED and size >= _V5:
            offset, length = struct.unpack_from("<II", start, _FILE_HEADER + 112)
            file.seek(_FILE_HEADER + offset)
            found.profile = file.read(min(length, path.stat().st_size))
    found.check_transfer(path, 0)
    return found


def write(path: Path, pixels: Pixels, metadata: Metadata) -> None:
    """Write `(H, W, C)` of uint8, C = 1, 3 or 4, with an alpha channel last."""
    if pixels.shape[2] < 4 and not metadata.profile and not metadata.blocks:
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)
        with path.open("rb+") as file:
            file.seek(38)
            file.write(_resolution(metadata))
        return
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels
    height, width, bands = pixels.shape
    stride = (width * bands + 3) // 4 * 4
    rows = np.zeros((height, stride), np.uint8)
    rows[:, : width * bands] = pixels[::-1, :, [2, 1, 0, 3][:bands]].reshape(height, -1)
    profile_at = _V5 + rows.size if metadata.profile else 0
    colours = next((block.content for block in metadata.blocks), bytes(48))
    kind = _EMBEDDED if metadata.profile else _CALIBRATED if metadata.blocks else _SRGB
    header = struct.pack("<IiiHHII", _V5, width, height, 1, 8 * bands, 3 if bands == 4 else 0, rows.size)
    header += _resolution(metadata) + bytes(8) + (_MASKS if bands == 4 else bytes(16))
    header += struct.pack(_COLOURS, kind, colours) + struct.pack("<4I", 4, profile_at, len(metadata.profile), 0)
    pixels_at = _FILE_HEADER + _V5
    with path.open("wb") as file:
        file.write(struct.pack("<2sIII", b"BM", pixels_at + rows.size + len(metadata.profile), 0, pixels_at))
        file.write(header)
        file.write(rows.tobytes())
        file.write(metadata.profile)


def _resolution(metadata: Metadata) -> bytes:
    return struct.pack("<ii", *(round(size) for size in metadata.resolution or (0, 0)))
