"""Image and video files of any kind, recognised by their first bytes."""

from pathlib import Path

_SIGNATURES = (
    (0, b"\x89PNG"), (0, b"\xff\xd8\xff"), (0, b"GIF8"), (0, b"BM"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"),
    (0, b"MM\0+"), (8, b"WEBP"), (8, b"AVI "), (4, b"ftyp"), (0, b"\xff\x0a"), (4, b"JXL "), (4, b"jP  "),
    (0, b"\xff\x4f\xff\x51"), (0, b"8BPS"), (0, b"v/1\x01"), (0, b"#?RADIANCE"), (0, b"qoif"), (0, b"IIRO"),
    (0, b"FUJIFILMCCD-RAW"), (0, b"IIU\0"), (0, b"\x1aE\xdf\xa3"), (0, b"FLV\x01"), (0, b"\0\0\x01\xba"),
    (0, b"\0\0\x01\xb3"), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"), (0, b"OggS"), (4, b"moov"), (4, b"mdat"),
)  # fmt: skip
"""Offset and bytes: raster images, camera raw files and videos. RIFF and ISO files name their kind at 8 and 4."""


def is_image_or_video(path: Path) -> bool:
    """Return whether a file is an image or a video of any kind; False if it can't be read."""
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except OSError:
        return False
    return any(start[offset:].startswith(signature) for offset, signature in _SIGNATURES)
