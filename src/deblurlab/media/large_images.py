"""Image files as they are: 8 or 16 bits, grey or colour, with transparency, profile and EXIF, however large. Read and
written from the top to the bottom by libvips, which holds a few rows at a time."""

import logging
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import numpy as np
import pyvips
import tifffile
from PIL import Image

from deblurlab.errors import UserError, first_sentence
from deblurlab.media.pixels import Pixels

logging.getLogger("pyvips").setLevel(logging.ERROR)  # it warns of what it mends
pyvips.cache_set_max(0)  # every picture is another, and a cached one holds its file open
MAX_PIXELS = 1_000_000_000
IN_MEMORY = 16_000_000
"""Pixels of a picture that is kept in memory until it is written; larger ones wait on the disk."""
_DTYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
_COLOURS = {"srgb": 3, "rgb16": 3, "rgb": 3, "b-w": 1, "grey16": 1}
_KINDS = ("png", "jpeg", "tiff", "webp", "bmp")
_WHOLE = 100_000_000
"""Pixels of a picture that can't be read by rows, as interlaced ones and WebP."""
_KEPT = ("exif-", "xmp-data", "iptc-data", "icc-profile-data", "orientation", "resolution-unit", "photoshop-data")


class Picture:
    """A file that is read from the top to the bottom (see `open_image`)."""

    def __init__(self, image: pyvips.Image, path: Path) -> None:
        self.path, self.image = path, image
        self.height, self.width, self.bands = int(image.height), int(image.width), int(image.bands)
        self.dtype: np.dtype[Any] = _DTYPES[image.format]
        self.colours = _COLOURS[image.interpretation]
        """1 (grey) or 3; further bands are transparency."""
        self.kind = _kind(image)
        self._region, self._at = pyvips.Region.new(image), 0

    def read(self, count: int) -> Pixels:
        """The next rows, `(count, W, bands)`.

        Raises:
            UserError: The file ends too early or is damaged.
        """
        try:
            content = self._region.fetch(0, self._at, self.width, count) if count else b""
        except pyvips.Error as error:
            raise UserError(f"{self.path} is damaged or truncated ({_said(error)}): replace it") from error
        self._at += count
        return np.frombuffer(content, self.dtype).reshape(count, self.width, self.bands)


def open_image(path: Path, max_pixels: int = MAX_PIXELS) -> Picture:
    """Open an image file by its header; nothing is decoded until rows are read.

    Raises:
        UserError: It is missing, no image, has more pixels than `max_pixels`, is animated or has several pages, or
            holds anything but 8 or 16 bits of grey or RGB, such as CMYK or HDR.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file" if path.exists() else f"{path} doesn't exist")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty")
    source = pyvips.Source.new_from_file(str(path))
    if (loader := _loader(source)) not in (*_KINDS, "uhdr", ""):
        raise _unknown(path, loader)
    try:
        image = pyvips.Image.new_from_source(source, "", access="sequential", fail_on="error")
    except pyvips.Error as error:
        image = _by_pillow(path, error, max_pixels)
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if image.width * image.height > max_pixels:
        raise _too_large(path, image.width, image.height, max_pixels)
    if _kind(image) not in _KINDS:
        raise _unknown(path, _kind(image))
    interlaced = image.get("interlaced") if image.get_typeof("interlaced") else 0
    if (interlaced or _kind(image) == "webp") and image.width * image.height > min(max_pixels, _WHOLE):
        raise UserError(
            f"{path} has {image.width} x {image.height} pixels and can't be read row by row: save it as TIFF, "
            f"or as PNG or JPEG that isn't interlaced"
        )
    if pages > 1 or _moves(path, image):
        raise UserError(f"{path} is animated or has several pages: take its pictures apart first")
    if image.format not in _DTYPES or image.interpretation not in _COLOURS:
        kind = "HDR or floating-point" if image.format in ("float", "double") else f"{image.interpretation}"
        raise UserError(
            f"{path} is {kind} ({image.format}): only grey and RGB of 8 or 16 bits are restored, convert it"
        )
    return Picture(image, path)


class LargeImageWriter:
    """A picture file that is there whole or not at all, with everything that the one it is made from has beside pixels:
    profile, EXIF, orientation, resolution; `times` as wide. Its name says its format.

    Raises:
        UserError: On writing: the disk is full, or the folder can't be written.
    """

    def __init__(self, path: Path, like: Picture, times: int = 1) -> None:
        self._path, self._like, self._width = path, like, times * like.width
        if path.suffix.lower() in (".jpg", ".jpeg") and like.bands > like.colours:
            raise UserError(f"{like.path} has transparency, which {path.name} can't: choose PNG, TIFF or WebP")
        self._partial = path.with_name(f".{uuid4().hex}.partial{path.suffix}")
        self._spool: Any = None
        if self._width * like.height > IN_MEMORY:
            self._spool = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".rows")  # noqa: SIM115
            self._spool.seek(self._prepared(self._spool.name))
        self._rows: list[Pixels] = []

    def write(self, rows: Pixels) -> None:
        """The next rows, `(n, W, bands)`."""
        if self._spool is None:
            self._rows.append(rows)
            return
        try:
            self._spool.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise self._unwritten(first_sentence(error)) from error

    def finish(self) -> None:
        """Encode the file and give it its name."""
        try:
            self._save(self._image())
            with self._partial.open("rb+") as file:
                os.fsync(file.fileno())
            self._partial.replace(self._path)
        except (OSError, pyvips.Error) as error:
            raise self._unwritten(_said(error)) from error

    def close(self) -> None:
        """Leave nothing but a finished file."""
        if self._spool is not None:
            self._spool.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _prepared(self, name: str) -> int:
        """Make an uncompressed TIFF of rows that are still to come: where they go. A raw file would be mapped into
        memory as a whole when it is encoded."""
        like = self._like
        tifffile.imwrite(
            name, shape=(like.height, self._width, like.bands), dtype=like.dtype, bigtiff=True, rowsperstrip=16,
            photometric="rgb" if like.colours == 3 else "minisblack", planarconfig="contig", metadata=None,
        )  # fmt: skip
        with tifffile.TiffFile(name) as made:
            return int(made.pages[0].dataoffsets[0])

    def _image(self) -> pyvips.Image:
        like = self._like
        size = self._width, like.height, like.bands
        if self._spool is None:
            image = pyvips.Image.new_from_memory(np.concatenate(self._rows).tobytes(), *size, like.image.format)
        else:
            self._spool.flush()
            image = pyvips.Image.tiffload(self._spool.name, access="sequential")
        image = image.copy(interpretation=like.image.interpretation, xres=like.image.xres, yres=like.image.yres)
        for name in like.image.get_fields():
            if name.startswith(_KEPT):
                image.set_type(like.image.get_typeof(name), name, like.image.get(name))
        return image

    def _save(self, image: pyvips.Image) -> None:
        target = str(self._partial)
        match self._path.suffix.lower():
            case ".png":
                image.pngsave(target, compression=6)
            case ".jpg" | ".jpeg":
                image.jpegsave(target, Q=95)
            case ".webp":
                image.webpsave(target, Q=95)
            case ".tif" | ".tiff":
                image.tiffsave(target, compression="deflate", predictor="horizontal", bigtiff=_huge(image))
            case ".bmp":
                pixels = image.numpy().reshape(image.height, image.width, image.bands)
                Image.fromarray(pixels[..., 0] if image.bands == 1 else pixels).save(target)
            case other:
                raise UserError(f"{self._path}: files of type {other or 'none'} can't be written")

    def _unwritten(self, why: str) -> UserError:
        return UserError(f"{self._path} couldn't be written ({why}): is the disk full, or the folder read-only?")


def _by_pillow(path: Path, error: pyvips.Error, max_pixels: int) -> pyvips.Image:
    """What libvips doesn't know, such as BMP."""
    try:
        with Image.open(path, formats=["BMP"]) as opened:
            if opened.width * opened.height > max_pixels:
                raise _too_large(path, opened.width, opened.height, max_pixels)
            return pyvips.Image.new_from_array(np.asarray(opened.convert("L" if opened.mode in ("1", "L") else "RGB")))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as other:
        raise UserError(f"{path} isn't an image that can be read, or it is damaged: {_said(error)}") from other


def _loader(source: pyvips.Source) -> str:
    """What libvips takes a file for by its first bytes, "svg" for one; empty if it doesn't know it."""
    found = pyvips.vips_lib.vips_foreign_find_load_source(source.pointer)
    if found == pyvips.ffi.NULL:
        return ""
    loader: str = pyvips.nickname_find(pyvips.type_from_name(pyvips.ffi.string(found).decode()))
    return loader.partition("load")[0]


def _unknown(path: Path, kind: str) -> UserError:
    return UserError(f"{path} is {kind}: only {', '.join(_KINDS)} are restored, convert it")


def _kind(image: pyvips.Image) -> str:
    """What an image file is, by its content."""
    kind = str(image.get("vips-loader")).partition("load")[0] if image.get_typeof("vips-loader") else "bmp"
    return "jpeg" if kind == "uhdr" else kind


def _moves(path: Path, image: pyvips.Image) -> bool:
    """Whether it is an animated PNG, of which libvips sees the first picture alone."""
    if _kind(image) != "png":
        return False
    with path.open("rb") as file:
        return b"acTL" in file.read(1 << 16).partition(b"IDAT")[0]


def _too_large(path: Path, width: int, height: int, most: int) -> "TooLargeError":
    return TooLargeError(f"{path} has {width} x {height} pixels, more than {most}; --max-pixels lets more in")


class TooLargeError(UserError):
    """A picture has more pixels than it may."""


def _huge(image: pyvips.Image) -> bool:
    """Whether it may not fit into a TIFF of 4 GiB."""
    return int(image.width * image.height * image.bands) * (2 if image.format == "ushort" else 1) > 3_500_000_000


def _said(error: BaseException) -> str:
    """What is wrong, out of libvips' lines."""
    detail = str(getattr(error, "detail", "") or "").strip().splitlines()
    return detail[-1].strip() if detail else first_sentence(error)
