"""Image and video files of any kind, recognised by their first bytes."""

from pathlib import Path

from deblurlab.media.heif import heif_kind

IMAGE = "image"
_IMAGES = (
    (0, b"\x89PNG"), (0, b"\xff\xd8\xff"), (0, b"GIF8"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"),
    (0, b"MM\0+"), (8, b"WEBP"), (0, b"\xff\x0a"), (4, b"JXL "), (4, b"jP  "), (0, b"\xff\x4f\xff\x51"), (0, b"8BPS"),
    (0, b"v/1\x01"), (0, b"#?RADIANCE"), (0, b"qoif"), (0, b"IIRO"), (0, b"FUJIFILMCCD-RAW"), (0, b"IIU\0"),
    (4, b"ftypcrx "), (4, b"ftypjp2 "), (4, b"ftypjxl "),
)  # fmt: skip
"""Offset and bytes of raster images and camera raw files. RIFF and ISO files name their kind at 8 and 4."""
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)
"""Sizes of the header that follows the first 14 bytes of a BMP file. Texts may begin with BM, too."""
_VIDEOS = (
    (8, b"AVI ", "AVI"), (4, b"ftypM4A ", ""), (4, b"ftyp", "MP4"), (4, b"moov", "MOV"), (4, b"mdat", "MOV"),
    (0, b"\x1aE\xdf\xa3", "Matroska"), (0, b"FLV\x01", "FLV"), (0, b"\0\0\x01\xba", "MPEG"),
    (0, b"\0\0\x01\xb3", "MPEG"), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMV"), (28, b"\x80theora", "Ogg"),
)  # fmt: skip
"""Offset, bytes and name of containers of videos; without a name of audio files that begin like these."""
_AUDIO_SUFFIXES = {".m4a", ".m4b", ".m4p", ".m4r", ".mka", ".oga", ".weba", ".wma"}
"""Suffixes of audio files in containers of videos. The tracks aren't read: they may be listed at the end of a file."""
_PACKET = {188: 0, 192: 4}
"""Length of the packets of an MPEG transport stream, and where their first byte, 0x47, is."""


def file_kind(path: Path) -> str:
    """Return IMAGE for an image of any kind, the name of the container of a video, and "" for another file.

    Raises:
        OSError: The file can't be read.
    """
    if path.suffix.lower() in _AUDIO_SUFFIXES:
        return ""
    with path.open("rb") as file:
        start = file.read(400)
    is_bmp = start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in _BMP_HEADERS
    if is_bmp or heif_kind(start) or any(start[offset:].startswith(signature) for offset, signature in _IMAGES):
        return IMAGE
    if any(len(start) > 2 * length + at and start[at::length][:3] == b"GGG" for length, at in _PACKET.items()):
        return "MPEG transport stream"
    return next((name for offset, signature, name in _VIDEOS if start[offset:].startswith(signature)), "")
