"""Contents of image files besides their pixels: read unchanged, adapted to another format, written.

libvips and Pillow read and write the pixels. Their own handling of metadata loses tags that they don't know.
"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from deblurlab.errors import UserError
from deblurlab.media import bmp_headers, jpeg_segments, png_chunks, tiff_tags, webp_chunks
from deblurlab.media.metadata_record import Metadata
from deblurlab.media.tiff_directories import lost_in_tiff, read_directory

_FORMATS: dict[str, Any] = {
    "png": png_chunks, "jpeg": jpeg_segments, "tiff": tiff_tags, "webp": webp_chunks, "bmp": bmp_headers,
}  # fmt: skip
_IN_BOXES = frozenset({"exif", "xmp", "profile"})
_HOLDS = {kind: module.HOLDS for kind, module in _FORMATS.items()} | {"avif": _IN_BOXES, "heif": _IN_BOXES}
"""What files of each format can hold."""
_NAMES = {
    "exif": "EXIF",
    "xmp": "XMP",
    "profile": "colour profile",
    "photoshop": "IPTC and Photoshop data",
    "resolution": "resolution",
}
_RESOLUTION_TAG = 282


def read_metadata(path: Path, kind: str) -> Metadata:
    """Return what an image file of a format holds besides its pixels.

    Raises:
        UserError: The colours are HDR, or the file is damaged.
    """
    found: Metadata = _FORMATS[kind].read(path)
    found.drop_damaged_exif()
    return found


def adapt(
    metadata: Metadata, kind: str, names: tuple[object, object], *, geometry_changes: bool
) -> tuple[Metadata, list[str]]:
    """Return what a file of another format can hold of an image's metadata, and the names of what is lost.

    Args:
        metadata: Contents of the source.
        kind: Format of the target.
        names: Names of both files for messages.
        geometry_changes: Whether the target has another size, which gain maps don't fit.

    Raises:
        UserError: The colours would be wrong without what is lost.
    """
    lost, kept = list(metadata.dropped), replace(metadata)
    for attribute, name in _NAMES.items():
        value = getattr(metadata, attribute)
        limit = jpeg_segments.LIMITS.get(attribute) if kind == "jpeg" else None
        too_large = bool(limit and len(value) > limit)
        if not value or (attribute in _HOLDS[kind] and not too_large):
            continue
        setattr(kept, attribute, None if attribute == "resolution" else b"")
        if attribute == "profile":
            raise UserError(_colour_message(names, name))
        if attribute != "resolution" or _RESOLUTION_TAG not in read_directory(io.BytesIO(metadata.exif)):
            lost.append(name)
    kept.blocks = []
    for block in metadata.blocks:
        if kind == metadata.kind and not (geometry_changes and block.sized):
            kept.blocks.append(block)
        elif block.colour:
            raise UserError(_colour_message(names, block.name))
        elif block.name and block.name not in lost:
            lost.append(block.name)
    if "tiff" in (kind, metadata.kind):
        lost += lost_in_tiff(kept.exif)
    kept.extra_samples = metadata.extra_samples if kind == "tiff" else ()
    return kept, lost


def _colour_message(names: tuple[object, object], content: str) -> str:
    source, target = names
    return (
        f"{source} has a {content}, without which its colours are wrong, and {target} can't store it: keep its format"
    )
