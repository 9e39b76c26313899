"""AVIF files with libvips and Pillow, HEIC files with pillow-heif (the extra `heif`)."""

import importlib.util
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image

from deblurlab.errors import UserError
from deblurlab.media.metadata_record import Metadata
from deblurlab.media.pixels import Pixels
from deblurlab.media.tiff_directories import upright

AVIF_SUFFIXES, HEIC_SUFFIXES = {".avif"}, {".heic", ".heif"}
REMEDY = "HEIC needs pillow-heif: pip install 'deblurlab[heif]'"
_EXIF = b"Exif\0\0"
_BT709, _UNSPECIFIED = 1, 2
_BOXES = {b"meta": 4, b"iprp": 0, b"ipco": 0}
"""Boxes that contain other boxes, and the bytes before these."""
_CONFIGURATIONS = {b"av1C": (2, 0x10, 0x10), b"hvcC": (16, 0x03, 0)}
"""Boxes of the decoders: a byte, its bits for the chroma subsampling, and their value if there is no chroma."""
_QUALITY = 95
_XMP_AND_PROFILE = 2 + 8
"""Flags of libvips' VipsForeignKeep."""


def can_read_heic() -> bool:
    """Return whether pillow-heif is installed."""
    return importlib.util.find_spec("pillow_heif") is not None


def heif_kind(start: bytes) -> str:
    """Return avif, avis (animated) or heif if the first bytes of a file are those of one, otherwise an empty text."""
    if start[4:8] != b"ftyp":
        return ""
    if start[8:12] == b"avis":
        return "avis"
    brands = {start[8:12], *(start[i : i + 4] for i in range(16, min(len(start), int.from_bytes(start[:4], "big")), 4))}
    if brands & {b"avif"}:
        return "avif"
    return "heif" if brands & {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc", b"hevx"} else ""


def open_heic(path: Path, check_size: Callable[[int, int], None]) -> tuple[pyvips.Image, Metadata, int]:
    """Return the upright pixels of a HEIC file, its metadata and its number of bits per channel.

    Args:
        path: The file.
        check_size: Raises an error if the width and height in the header are too large.

    Raises:
        UserError: pillow-heif isn't installed, or the file is damaged, HDR, or has several images.
    """
    try:
        import pillow_heif
    except ImportError as error:
        raise UserError(f"{path}: {REMEDY}") from error
    try:
        opened = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)
        if len(opened) > 1:
            raise UserError(f"{path} is animated or has several pages: save each page as a separate file")
        check_size(*opened.size)
        info, pixels = opened.info, np.array(opened)  # a copy: its memory belongs to the decoder
    except (OSError, ValueError, RuntimeError, EOFError, SyntaxError, IndexError) as error:
        raise UserError(f"{path} is damaged or truncated ({error}): replace it") from error
    metadata = Metadata("heif", xmp=info.get("xmp") or b"", profile=info.get("icc_profile") or b"")
    metadata.exif = upright((info.get("exif") or b"").removeprefix(_EXIF))
    metadata.dropped = [
        *(["the depth image"] if info.get("depth_images") else []),
        *(f"auxiliary image {name.rpartition(':')[2]}" for name in info.get("aux") or {}),
    ]
    _check(path, metadata)
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    return image, metadata, int(info.get("bit_depth") or 8)


def read_avif_metadata(path: Path, image: pyvips.Image) -> Metadata:
    """Return what an AVIF file holds besides its pixels, which libvips has turned upright.

    Raises:
        UserError: The colours are HDR, or tagged in a way that can't be kept.
    """

    def field(name: str) -> bytes:
        return bytes(image.get(name)) if image.get_typeof(name) else b""

    metadata = Metadata("avif", xmp=field("xmp-data"), profile=field("icc-profile-data"))
    metadata.exif = upright(field("exif-data").removeprefix(_EXIF))
    if image.get_typeof("gainmap-data"):
        metadata.dropped.append("gain map")
    _check(path, metadata)
    return metadata


def without_chroma(path: Path, image: pyvips.Image) -> pyvips.Image:
    """Return grey, with its transparency, if an AVIF or HEIC file stores grey; decoders return it as RGB."""
    chroma = [
        content[at] & bits != value
        for kind, content in _boxes(path)
        if kind in _CONFIGURATIONS and len(content) > (at := _CONFIGURATIONS[kind][0])
        for bits, value in [_CONFIGURATIONS[kind][1:]]
    ]
    if image.bands < 3 or not chroma or any(chroma):
        return image
    grey = image[0] if image.bands == 3 else image[0].bandjoin(image[3])
    return grey.copy(interpretation="b-w" if grey.format == "uchar" else "grey16")


def write_heif(path: Path, pixels: Pixels, metadata: Metadata, bits: int) -> None:
    """Write an AVIF or HEIC file, `(H, W, C)` of uint8 or uint16, C = 1 to 4; an alpha channel is the last."""
    info: dict[str, Any] = {"quality": _QUALITY}
    info |= {"exif": _EXIF + metadata.exif} if metadata.exif else {}
    info |= {"xmp": metadata.xmp} if metadata.xmp else {}
    info |= {"icc_profile": metadata.profile} if metadata.profile else {}
    if path.suffix.lower() in AVIF_SUFFIXES:
        if bits > 8:
            _write_deep_avif(path, pixels, metadata, bits)
        else:
            image = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
            image.save(path, format="AVIF", subsampling="4:4:4" if pixels.shape[2] > 2 else "4:0:0", **info)
        return
    import pillow_heif

    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]] + (";16" if pixels.dtype == np.uint16 else "")
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits > 10
    file = pillow_heif.from_bytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    file.save(path, chroma=444, **info)


def _write_deep_avif(path: Path, pixels: Pixels, metadata: Metadata, bits: int) -> None:
    """Write 10 or 12 bits per channel with libvips; Pillow's encoder has 8. EXIF isn't written: libvips loses tags."""
    image = pyvips.Image.new_from_array(pixels)
    image = image.copy(interpretation="rgb16" if pixels.shape[2] > 2 else "grey16")
    for name, content in (
        ("xmp-data", metadata.xmp),
        ("icc-profile-data", metadata.profile),
    ):
        if content:
            image.set_type(pyvips.GValue.blob_type, name, content)
    options = {"compression": "av1", "bitdepth": bits, "Q": _QUALITY, "subsample_mode": "off"}
    with path.open("wb") as file:
        image.heifsave_target(pyvips.Target.new_to_descriptor(file.fileno()), keep=_XMP_AND_PROFILE, **options)


def _check(path: Path, metadata: Metadata) -> None:
    """Drop damaged EXIF; raise UserError if the colours are HDR, or of other primaries than sRGB without a profile."""
    metadata.drop_damaged_exif()
    for kind, content in _boxes(path):
        if kind != b"colr" or content[:4] != b"nclx" or len(content) < 8:
            continue
        primaries, transfer = struct.unpack_from(">HH", content, 4)
        metadata.check_transfer(path, transfer)
        if primaries not in (_BT709, _UNSPECIFIED) and not metadata.profile:
            raise UserError(
                f"{path} has colours of another space than sRGB (primaries {primaries}) and no profile: convert it"
            )
    metadata.check_transfer(path, 0)


def _boxes(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield type and content of the boxes without other boxes in the header of an ISO base media file."""
    with path.open("rb") as file:
        header = file.read(1 << 20)
    waiting = [(0, len(header))]
    while waiting:
        start, end = waiting.pop()
        while start + 8 <= end:
            size, kind = struct.unpack_from(">I4s", header, start)
            stop = min(start + size if size >= 8 else end, end)
            if kind in _BOXES:
                waiting.append((start + 8 + _BOXES[kind], stop))
            else:
                yield kind, header[start + 8 : stop]
            start = stop
