"""Image and video files of any kind, recognised by their first bytes."""

from pathlib import Path

_IMAGES = (
    (0, b"\x89PNG"), (0, b"\xff\xd8\xff"), (0, b"GIF8"), (0, b"BM"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"),
    (0, b"MM\0+"), (8, b"WEBP"), (0, b"\xff\x0a"), (4, b"JXL "), (4, b"jP  "), (0, b"\xff\x4f\xff\x51"), (0, b"8BPS"),
    (0, b"v/1\x01"), (0, b"#?RADIANCE"), (0, b"qoif"), (0, b"IIRO"), (0, b"FUJIFILMCCD-RAW"), (0, b"IIU\0"),
    (4, b"ftypheic"), (4, b"ftypheix"), (4, b"ftypheim"), (4, b"ftypheis"), (4, b"ftypmif1"), (4, b"ftypmsf1"),
    (4, b"ftyphevc"), (4, b"ftypavif"), (4, b"ftypavis"), (4, b"ftypcrx "), (4, b"ftypjp2 "), (4, b"ftypjxl "),
)  # fmt: skip
"""Offset and bytes of raster images and camera raw files. RIFF and ISO files name their kind at 8 and 4."""
_VIDEOS = (
    (8, b"AVI ", "AVI"), (4, b"ftypM4A ", ""), (4, b"ftyp", "MP4"), (4, b"moov", "MOV"), (4, b"mdat", "MOV"),
    (0, b"\x1aE\xdf\xa3", "Matroska"), (0, b"FLV\x01", "FLV"), (0, b"\0\0\x01\xba", "MPEG"),
    (0, b"\0\0\x01\xb3", "MPEG"), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMV"), (28, b"\x80theora", "Ogg"),
)  # fmt: skip
"""Offset, bytes and name of containers of videos; without a name of audio files that begin like these."""
_PACKET = {188: 0, 192: 4}
"""Length of the packets of an MPEG transport stream, and where their first byte, 0x47, is."""


def is_image_or_video(path: Path) -> bool:
    """Return whether a file is an image or a video of any kind; False if it can't be read."""
    start = _start(path)
    return any(start[offset:].startswith(signature) for offset, signature in _IMAGES) or bool(video_container(path))


def video_container(path: Path) -> str:
    """Return the name of the container of a video; empty if the file is no video or can't be read."""
    start = _start(path)
    if any(start[offset:].startswith(signature) for offset, signature in _IMAGES):
        return ""
    if any(len(start) > 2 * length + at and start[at::length][:3] == b"GGG" for length, at in _PACKET.items()):
        return "MPEG transport stream"
    return next((name for offset, signature, name in _VIDEOS if start[offset:].startswith(signature)), "")


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(400)
    except OSError:
        return b""
