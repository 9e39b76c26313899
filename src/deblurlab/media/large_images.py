"""Reading of image files of any size, row by row with libvips.

Grey or RGB with 8 or 16 bits per channel, with alpha channels. Memory is bounded by a few rows.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from PIL import Image

from deblurlab._compat import vips_loader
from deblurlab.errors import UserError, first_sentence
from deblurlab.media.heif import AVIF_SUFFIXES, HEIC_SUFFIXES, heif_kind, open_heic, read_avif_metadata, without_chroma
from deblurlab.media.images import JPEG_SUFFIXES
from deblurlab.media.metadata import read_metadata
from deblurlab.media.metadata_record import Metadata
from deblurlab.media.pixels import Pixels

logging.getLogger("pyvips").setLevel(logging.ERROR)  # it warns about defects that it corrects
pyvips.cache_set_max(0)  # no image is read twice, and a cached one keeps its file open
MAX_PIXELS = 1_000_000_000
"""Default of the largest accepted number of pixels."""
FORMATS = {
    ".png": "png", **dict.fromkeys(sorted(JPEG_SUFFIXES), "jpeg"), ".tif": "tiff", ".tiff": "tiff", ".webp": "webp",
    ".bmp": "bmp", **dict.fromkeys(AVIF_SUFFIXES, "avif"), **dict.fromkeys(sorted(HEIC_SUFFIXES), "heif"),
}  # fmt: skip
"""Format of each suffix of images that can be restored. HEIC needs the extra `heif`."""
RESTORABLE_SUFFIXES = set(FORMATS)
_MAX_DECODED_WHOLE = 100_000_000
"""Largest number of pixels of an image that can't be decoded row by row: interlaced PNG and JPEG, and WebP."""
_DTYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
_INTERPRETATIONS = {
    (True, "uchar"): "b-w", (True, "ushort"): "grey16", (False, "uchar"): "srgb", (False, "ushort"): "rgb16",
}  # fmt: skip
_COLOURS = {"srgb": 3, "rgb16": 3, "rgb": 3, "b-w": 1, "grey16": 1}
_ANIMATED = "{} is animated or has several pages: save each page as a separate file"


class TooLargeError(UserError):
    """An image has more pixels than allowed."""


class LargeImage:
    """An image file that is decoded from top to bottom; see `open_image`."""

    def __init__(self, image: pyvips.Image, path: Path, kind: str, metadata: Metadata, bits: int) -> None:
        self.path, self.image, self.kind, self.metadata, self.bits = path, image, kind, metadata, bits
        self.height, self.width, self.bands = int(image.height), int(image.width), int(image.bands)
        self.dtype: np.dtype[Any] = _DTYPES[image.format]
        self.colours = _COLOURS[image.interpretation]
        """1 (grey) or 3; further bands are alpha channels."""
        self._region, self._next_row = pyvips.Region.new(image), 0

    @property
    def other_bands(self) -> str:
        """Name of further bands that aren't one alpha channel; empty if there are none."""
        if self.bands > self.colours + 1:
            return f"{self.bands - self.colours} bands besides its colours"
        unknown = 0 in self.metadata.extra_samples[: self.bands - self.colours]
        return "a band that is neither colour nor transparency" if unknown else ""

    def read(self, count: int) -> Pixels:
        """Return the next `count` rows, `(count, W, bands)`.

        Raises:
            UserError: The file is truncated or damaged.
        """
        try:
            content = self._region.fetch(0, self._next_row, self.width, count) if count else b""
        except (pyvips.Error, UnicodeDecodeError) as error:
            raise UserError(f"{self.path} is damaged or truncated ({error_message(error)}): replace it") from error
        self._next_row += count
        return np.frombuffer(content, self.dtype).reshape(count, self.width, self.bands)


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> LargeImage:
    """Open an image file. Only its header is read; `LargeImage.read` decodes.

    Raises:
        TooLargeError: The image has more pixels than `max_pixels`.
        UserError: The file is missing, isn't an image, is animated, has several pages, or isn't grey or RGB with 8 or
            16 bits per channel (CMYK and HDR, for example).
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file" if path.exists() else f"{path} doesn't exist")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    with path.open("rb") as file:
        kind = heif_kind(file.read(64))
    if kind == "avis":
        raise UserError(_ANIMATED.format(path))
    if kind == "heif":
        image, metadata, bits = open_heic(path, lambda width, height: _check_size(path, width, height, max_pixels))
        image = image.copy(interpretation=_INTERPRETATIONS[image.bands < 3, image.format])
    else:
        image, kind = _open(path, kind, max_pixels)
        metadata = read_avif_metadata(path, image) if kind == "avif" else read_metadata(path, kind)
        bits = int(image.get("bits-per-sample")) if kind == "avif" else 8 * _DTYPES[image.format].itemsize
    if kind in ("avif", "heif"):
        image = without_chroma(path, image)
    _check_image(image, path, kind, max_pixels)
    return LargeImage(image, path, kind, metadata, bits)


def _open(path: Path, kind: str, max_pixels: int) -> tuple[pyvips.Image, str]:
    """Open an image file that isn't HEIC; return its format too."""
    with path.open("rb") as file:  # pyvips can't decode messages with file names that aren't UTF-8
        source = pyvips.Source.new_from_descriptor(file.fileno())
    loader = vips_loader(source)
    formats = dict.fromkeys(FORMATS.values())
    if loader not in (*formats, "uhdr", "") or (loader == "heif" and kind != "avif"):
        raise UserError(f"{path} is {loader}: convert it to one of {', '.join(formats)}")
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
    except (pyvips.Error, UnicodeDecodeError) as error:  # pyvips may cut the message within a character
        image = _open_bmp(path, error, max_pixels)
        loader = "bmp"
    _check_size(path, image.width, image.height, max_pixels)
    if image.format not in _DTYPES or image.interpretation not in _COLOURS:
        found = "HDR or floating-point" if image.format in ("float", "double") else f"{image.interpretation}"
        raise UserError(f"{path} is {found} ({image.format}): convert it to grey or RGB with 8 or 16 bits per channel")
    return image, {"uhdr": "jpeg", "heif": "avif"}.get(loader, loader)


def _check_image(image: pyvips.Image, path: Path, kind: str, max_pixels: int) -> None:
    """Raise UserError if an opened image can't be restored."""
    _check_size(path, image.width, image.height, max_pixels)
    whole = kind in ("webp", "avif", "heif") or (image.get_typeof("interlaced") and image.get("interlaced"))
    if whole and image.width * image.height > min(max_pixels, _MAX_DECODED_WHOLE):
        raise UserError(
            f"{path} has {image.width} x {image.height} pixels and can't be read row by row: save it as TIFF, "
            f"or as PNG or JPEG that isn't interlaced"
        )
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1 or (kind == "png" and _is_animated_png(path)):
        raise UserError(_ANIMATED.format(path))


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLargeError(f"{path} has {width} x {height} pixels, more than {max_pixels}: raise --max-pixels")


def _open_bmp(path: Path, error: Exception, max_pixels: int) -> pyvips.Image:
    """Open a BMP file, which libvips can't read, with Pillow."""
    try:
        with Image.open(path, formats=["BMP"]) as opened:
            _check_size(path, opened.width, opened.height, max_pixels)
            mode = {"1": "L", "L": "L", "RGBA": "RGBA"}.get(opened.mode, "RGB")
            image = pyvips.Image.new_from_array(np.asarray(opened.convert(mode)))
            return image.copy(interpretation="b-w" if mode == "L" else "srgb")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as other:
        reason = error_message(error) if getattr(error, "detail", "") else "its header is invalid"
        raise UserError(f"{path} isn't an image that can be read, or it is damaged: {reason}") from other


def _is_animated_png(path: Path) -> bool:
    """Return whether a PNG file is animated. libvips reads only its first frame."""
    with path.open("rb") as file:
        return b"acTL" in file.read(1 << 16).partition(b"IDAT")[0]


def error_message(error: BaseException) -> str:
    """Return the last line of a libvips error, which names the cause."""
    detail = str(getattr(error, "detail", "") or "").strip().splitlines()
    return detail[-1].strip() if detail else first_sentence(error)
