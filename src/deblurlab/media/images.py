"""Image files to arrays. Whatever would silently change the pixels is refused instead."""

import os
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from deblurlab.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""What Pillow may take a file for; its EPS reader would start another program."""


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """The 8-bit RGB image in a file, `(H, W, 3)`, upright as its EXIF orientation says. What kind of file it is, its
    content decides, not its name.

    Raises:
        UserError: The file is missing, unreadable, truncated, or not 8-bit RGB.
    """
    return decode_image(path, str(path))


def decode_image(source: Path | BinaryIO, path: str) -> npt.NDArray[np.uint8]:
    """As `read_image`, of a file or what is in one; errors call it `path`."""
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.mode != "RGB":
                raise UserError(f"{path} is {_name(image)}, not 8-bit RGB: convert it")
            # Pillow would read 16-bit RGB as 8-bit without a word.
            if any(";16" in str(tile[-1]) for tile in image.tile):
                raise UserError(f"{path} has 16 bits per channel: convert it to 8-bit RGB")
            return np.asarray(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise UserError(f"{path} doesn't exist") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path} isn't an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} claims more pixels than any photograph has: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is damaged or truncated ({error}): replace it") from error


def image_size(path: Path) -> tuple[int, int]:
    """Width and height from a file's header, upright.

    Raises:
        UserError: It isn't an image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(0x0112, 1) >= 5 else (width, height)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} isn't an image that can be read") from error


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write `(H, W, 3)` RGB so that the file is there whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")  # several processes may write the same picture
    _, content = cv2.imencode(".png", image[..., ::-1])
    partial.write_bytes(content.tobytes())
    partial.replace(path)


def find_images(folder: Path) -> list[Path]:
    """All image files below a folder, sorted.

    Raises:
        UserError: The folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise UserError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    return found


def _name(image: Image.Image) -> str:
    if image.mode in ("1", "L") or image.mode.startswith(("I", "F")):
        bits = "16-bit grey" if image.mode.startswith("I") else "grey"
        return f"a {bits} image (mode {image.mode})"
    return f"an image of mode {image.mode}" + (", with transparency" if image.mode in ("RGBA", "LA", "PA") else "")
