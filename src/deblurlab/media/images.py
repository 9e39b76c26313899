"""Reading and writing of 8-bit RGB image files. Files that would need a lossy conversion are refused."""

import re
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from deblurlab.errors import UserError
from deblurlab.runs.files import atomic_write

JPEG_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif"}
SUFFIXES = {".png", ".bmp", ".tif", ".tiff", ".webp"} | JPEG_SUFFIXES
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Formats that Pillow may decode. Its EPS reader would start another program."""
_EXIF_ORIENTATION = 0x0112


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read an 8-bit RGB image, `(H, W, 3)`, turned upright by its EXIF orientation.

    The format is detected from the content, not from the file name.

    Raises:
        UserError: The file is missing, unreadable, truncated, or not 8-bit RGB.
    """
    return decode_image(path, str(path))


def decode_image(source: Path | BinaryIO, name: str) -> npt.NDArray[np.uint8]:
    """Decode an 8-bit RGB image from a path or an open file; see `read_image`.

    Args:
        source: The path or the open file.
        name: Name of the image in error messages.

    Raises:
        UserError: The file is missing, unreadable, truncated, or not 8-bit RGB.
    """
    try:
        with Image.open(source, formats=FORMATS) as image:
            if image.mode != "RGB":
                raise UserError(f"{name} is {_describe_mode(image)}, not 8-bit RGB: convert it")
            # Pillow reduces 16-bit RGB to 8 bits without a warning.
            if any(";16" in str(tile[-1]) for tile in image.tile):
                raise UserError(f"{name} has 16 bits per channel: convert it to 8-bit RGB")
            return np.asarray(ImageOps.exif_transpose(image))
    except FileNotFoundError as error:
        raise UserError(f"{name} doesn't exist") from error
    except UnidentifiedImageError as error:
        raise UserError(f"{name} isn't an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"the header of {name} declares too many pixels: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name} is damaged or truncated ({error}): replace it") from error


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an upright image from its header.

    Raises:
        UserError: The file isn't an image.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(_EXIF_ORIENTATION, 1) >= 5 else (width, height)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} isn't an image that can be read") from error


def write_png(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write an RGB image `(H, W, 3)` to a PNG file atomically."""
    import cv2  # which reading and restoring of files don't need

    _, content = cv2.imencode(".png", image[..., ::-1])
    with atomic_write(path, "wb", unique=True, fsync=False) as file:  # several processes may write the same image
        file.write(content.tobytes())


def find_images(folder: Path) -> list[Path]:
    """Return all image files below a folder in natural order. Hidden files and folders are skipped.

    Raises:
        UserError: The folder is missing or holds no image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    files = (path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    found = [path for path in files if not is_hidden(path.relative_to(folder))]
    found.sort(key=lambda path: natural_key(path.relative_to(folder)))
    if not found:
        raise UserError(f"{folder} holds no images ({', '.join(sorted(SUFFIXES))})")
    return found


def natural_key(name: str | PurePath) -> tuple[Any, ...]:
    """Return the key that sorts names or paths naturally: numbers by their value, so that 2 precedes 10.

    Example:
        >>> sorted(["10.png", "2.png", "a/1.png", "01.png"], key=natural_key)
        ['01.png', '2.png', '10.png', 'a/1.png']
    """
    parts = name.parts if isinstance(name, PurePath) else name.split("/")
    # Every second piece is a number, so that equal positions have equal types. The name itself tells 1 from 01.
    pieces = [[int(p) if i % 2 else p for i, p in enumerate(re.split(r"([0-9]+)", part))] for part in parts]
    return (pieces, str(name))


def is_hidden(path: PurePath) -> bool:
    """Return whether a relative path leads to a hidden file or through a hidden folder, such as macOS's in archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _describe_mode(image: Image.Image) -> str:
    """Return the mode of a Pillow image in words."""
    if image.mode in ("1", "L") or image.mode.startswith(("I", "F")):
        bits = "16-bit grey" if image.mode.startswith("I") else "grey"
        return f"a {bits} image (mode {image.mode})"
    return f"an image of mode {image.mode}" + (", with transparency" if image.mode in ("RGBA", "LA", "PA") else "")
