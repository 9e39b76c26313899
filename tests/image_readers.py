"""Other readers of image files than those of deblurlab: Pillow, pillow-heif and tifffile."""

from pathlib import Path
from typing import Any

import pillow_heif
import tifffile
from PIL import Image


def open_any(path: Path) -> Any:
    """Open a file with Pillow; HEIC with the pixels and the information of pillow-heif."""
    if path.suffix != ".heic":
        with Image.open(path) as found:
            found.load()
            return found
    opened = pillow_heif.open_heif(path)
    image = opened.to_pillow()
    image.info.update(opened.info)
    return image


def read_exif(path: Path) -> Image.Exif:
    """Return EXIF with the directories of details and GPS."""
    exif = Image.Exif()
    if path.suffix == ".heic":
        exif.load(pillow_heif.open_heif(path).info["exif"])
        return exif
    with Image.open(path) as image:  # Pillow turns a TIFF upright when it decodes it
        exif = image.getexif()
        for directory in (0x8769, 0x8825):
            exif.get_ifd(directory)
    return exif


def bits_of(path: Path) -> int:
    """Return the bits per channel of a PNG, TIFF, AVIF or HEIC file."""
    if path.suffix == ".png":
        return path.read_bytes()[24]
    if path.suffix == ".tif":
        return int(tifffile.imread(path).dtype.itemsize * 8)
    if path.suffix == ".heic":
        return int(pillow_heif.open_heif(path, convert_hdr_to_8bit=False).info["bit_depth"])
    boxes = path.read_bytes()
    return boxes[boxes.index(b"pixi") + 9]  # after version and flags and the number of channels
