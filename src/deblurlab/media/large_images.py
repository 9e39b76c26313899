"""Reading and writing of image files of any size, row by row with libvips.

Grey or RGB with 8 or 16 bits per channel; alpha channels, colour profile and EXIF are kept. Memory is bounded by a few
rows.
"""

import logging
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyvips
import tifffile
from PIL import Image

from deblurlab._compat import vips_loader
from deblurlab.errors import UserError, first_sentence
from deblurlab.media.images import JPEG_SUFFIXES
from deblurlab.media.pixels import Pixels
from deblurlab.runs.files import atomic_path

logging.getLogger("pyvips").setLevel(logging.ERROR)  # it warns about defects that it corrects
pyvips.cache_set_max(0)  # no image is read twice, and a cached one keeps its file open
MAX_PIXELS = 1_000_000_000
"""Default of the largest accepted number of pixels."""
IN_MEMORY = 16_000_000
"""Largest number of pixels of a restored image that is kept in memory until it is encoded; larger ones use the disk."""
_MAX_DECODED_WHOLE = 100_000_000
"""Largest number of pixels of an image that can't be decoded row by row: interlaced PNG and JPEG, and WebP."""
_MAX_TIFF_BYTES = 3_500_000_000
"""Uncompressed size above which a BigTIFF is written; a classic TIFF has at most 4 GiB."""
_DTYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
_COLOURS = {"srgb": 3, "rgb16": 3, "rgb": 3, "b-w": 1, "grey16": 1}
_KINDS = ("png", "jpeg", "tiff", "webp", "bmp")
_METADATA = ("exif-", "xmp-data", "iptc-data", "icc-profile-data", "orientation", "resolution-unit", "photoshop-data")
"""Prefixes of the libvips fields that are copied to the restored file."""


class TooLargeError(UserError):
    """An image has more pixels than allowed."""


class LargeImage:
    """An image file that is decoded from top to bottom; see `open_image`."""

    def __init__(self, image: pyvips.Image, path: Path) -> None:
        self.path, self.image = path, image
        self.height, self.width, self.bands = int(image.height), int(image.width), int(image.bands)
        self.dtype: np.dtype[Any] = _DTYPES[image.format]
        self.colours = _COLOURS[image.interpretation]
        """1 (grey) or 3; further bands are alpha channels."""
        self.kind = _kind(image)
        """Format of the file: png, jpeg, tiff, webp or bmp."""
        self._region, self._next_row = pyvips.Region.new(image), 0

    def read(self, count: int) -> Pixels:
        """Return the next `count` rows, `(count, W, bands)`.

        Raises:
            UserError: The file is truncated or damaged.
        """
        try:
            content = self._region.fetch(0, self._next_row, self.width, count) if count else b""
        except pyvips.Error as error:
            raise UserError(f"{self.path} is damaged or truncated ({_error_message(error)}): replace it") from error
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
    source = pyvips.Source.new_from_file(str(path))
    if (loader := vips_loader(source)) not in (*_KINDS, "uhdr", ""):
        raise UserError(f"{path} is {loader}: convert it to one of {', '.join(_KINDS)}")
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
    except pyvips.Error as error:
        image = _open_bmp(path, error, max_pixels)
    _check_image(image, path, max_pixels)
    return LargeImage(image, path)


class LargeImageWriter:
    """Writer of an image file, row by row. The file appears when `finish` has encoded it.

    The suffix of `path` chooses the format. Colour profile, EXIF, orientation and resolution are copied.

    Args:
        path: The file to write.
        like: The image that the size, the pixel format and the metadata are taken from.
        width_factor: Width of the file as a multiple of the width of `like`.

    Raises:
        UserError: The format lacks transparency; or, while writing, the disk is full or the folder isn't writable.
    """

    def __init__(self, path: Path, like: LargeImage, width_factor: int = 1) -> None:
        self._path, self._like, self._width = path, like, width_factor * like.width
        suffix = path.suffix.lower()
        if (suffix in JPEG_SUFFIXES and like.bands > like.colours) or (suffix == ".bmp" and like.bands == 2):
            raise UserError(f"{like.path} has transparency, {path.name} can't store it: choose PNG, TIFF or WebP")
        if suffix == ".bmp" and like.dtype == np.uint16:
            raise UserError(f"{like.path} has 16 bits per channel, {path.name} can't store them: choose PNG or TIFF")
        self._spool: Any = None
        if self._width * like.height > IN_MEMORY:
            self._spool = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".rows")  # noqa: SIM115
            self._spool.seek(self._allocate(self._spool.name))
        self._rows: list[Pixels] = []

    def write(self, rows: Pixels) -> None:
        """Append rows, `(n, W, bands)`."""
        if self._spool is None:
            self._rows.append(rows)
            return
        try:
            self._spool.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise self._write_error(first_sentence(error)) from error

    def finish(self) -> None:
        """Encode the rows and create the file."""
        try:
            with atomic_path(self._path, unique=True) as temporary:
                self._encode(self._image(), str(temporary))
        except (OSError, pyvips.Error) as error:
            raise self._write_error(_error_message(error)) from error

    def close(self) -> None:
        """Delete the temporary rows."""
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _allocate(self, name: str) -> int:
        """Create an uncompressed TIFF without pixels and return the offset of its first row.

        libvips maps a raw file into memory as a whole when it is encoded, a TIFF it reads by rows.
        """
        like = self._like
        bands: dict[str, Any] = {"planarconfig": "contig"} if like.bands > 1 else {}  # which one band can't have
        tifffile.imwrite(
            name, shape=(like.height, self._width, like.bands)[: 3 if bands else 2], dtype=like.dtype, bigtiff=True,
            rowsperstrip=16, photometric="rgb" if like.colours == 3 else "minisblack", metadata=None, **bands,
        )  # fmt: skip
        with tifffile.TiffFile(name) as file:
            return int(file.pages[0].dataoffsets[0])

    def _image(self) -> pyvips.Image:
        """Return the written rows with the metadata of `like`."""
        like = self._like
        size = self._width, like.height, like.bands
        if self._spool is None:
            image = pyvips.Image.new_from_memory(np.concatenate(self._rows).tobytes(), *size, like.image.format)
        else:
            self._spool.flush()
            image = pyvips.Image.tiffload(self._spool.name, access="sequential")
        image = image.copy(interpretation=like.image.interpretation, xres=like.image.xres, yres=like.image.yres)
        for name in like.image.get_fields():
            if name.startswith(_METADATA):
                image.set_type(like.image.get_typeof(name), name, like.image.get(name))
        return image

    def _encode(self, image: pyvips.Image, target: str) -> None:
        match self._path.suffix.lower():
            case ".png":
                image.pngsave(target, compression=6)
            case suffix if suffix in JPEG_SUFFIXES:
                image.jpegsave(target, Q=95)
            case ".webp":
                image.webpsave(target, Q=95)
            case ".tif" | ".tiff":
                size = image.width * image.height * image.bands * self._like.dtype.itemsize
                image.tiffsave(
                    target, compression="deflate", predictor="horizontal", bigtiff=size > _MAX_TIFF_BYTES
                )  # fmt: skip
            case ".bmp":
                pixels = image.numpy().reshape(image.height, image.width, image.bands)
                Image.fromarray(pixels[..., 0] if image.bands == 1 else pixels).save(target)
            case other:
                raise UserError(f"{self._path}: files of type {other or 'none'} can't be written")

    def _write_error(self, cause: str) -> UserError:
        return UserError(f"{self._path} couldn't be written ({cause}): is the disk full, or the folder read-only?")


def _check_image(image: pyvips.Image, path: Path, max_pixels: int) -> None:
    """Raise UserError if an opened image can't be restored."""
    _check_size(path, image.width, image.height, max_pixels)
    if _kind(image) not in _KINDS:
        raise UserError(f"{path} is {_kind(image)}: convert it to one of {', '.join(_KINDS)}")
    interlaced = image.get("interlaced") if image.get_typeof("interlaced") else 0
    if (interlaced or _kind(image) == "webp") and image.width * image.height > min(max_pixels, _MAX_DECODED_WHOLE):
        raise UserError(
            f"{path} has {image.width} x {image.height} pixels and can't be read row by row: save it as TIFF, "
            f"or as PNG or JPEG that isn't interlaced"
        )
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1 or _is_animated_png(path, image):
        raise UserError(f"{path} is animated or has several pages: save each page as a separate file")
    if image.format not in _DTYPES or image.interpretation not in _COLOURS:
        kind = "HDR or floating-point" if image.format in ("float", "double") else f"{image.interpretation}"
        raise UserError(f"{path} is {kind} ({image.format}): convert it to grey or RGB with 8 or 16 bits per channel")


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise TooLargeError(f"{path} has {width} x {height} pixels, more than {max_pixels}: raise --max-pixels")


def _open_bmp(path: Path, error: pyvips.Error, max_pixels: int) -> pyvips.Image:
    """Open a BMP file, which libvips can't read, with Pillow."""
    try:
        with Image.open(path, formats=["BMP"]) as opened:
            _check_size(path, opened.width, opened.height, max_pixels)
            return pyvips.Image.new_from_array(np.asarray(opened.convert("L" if opened.mode in ("1", "L") else "RGB")))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as other:
        message = _error_message(error)
        raise UserError(f"{path} isn't an image that can be read, or it is damaged: {message}") from other


def _kind(image: pyvips.Image) -> str:
    """Return the file format of an opened image."""
    kind = str(image.get("vips-loader")).partition("load")[0] if image.get_typeof("vips-loader") else "bmp"
    return "jpeg" if kind == "uhdr" else kind


def _is_animated_png(path: Path, image: pyvips.Image) -> bool:
    """Return whether a file is an animated PNG. libvips reads only its first frame."""
    if _kind(image) != "png":
        return False
    with path.open("rb") as file:
        return b"acTL" in file.read(1 << 16).partition(b"IDAT")[0]


def _error_message(error: BaseException) -> str:
    """Return the last line of a libvips error, which names the cause."""
    detail = str(getattr(error, "detail", "") or "").strip().splitlines()
    return detail[-1].strip() if detail else first_sentence(error)
