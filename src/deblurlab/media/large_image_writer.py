"""Writing of image files of any size, row by row, with the metadata of another file."""

import errno
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyvips
import tifffile

from deblurlab.errors import UserError
from deblurlab.media import bmp_headers, jpeg_segments, png_chunks, tiff_tags, webp_chunks
from deblurlab.media.heif import REMEDY, can_read_heic, write_heif
from deblurlab.media.large_images import FORMATS, LargeImage, error_message
from deblurlab.media.metadata import adapt
from deblurlab.media.pixels import Pixels
from deblurlab.runs.files import atomic_path

IN_MEMORY = 16_000_000
"""Largest number of pixels of a restored image that is kept in memory until it is encoded; larger ones use the disk."""
_MAX_TIFF_BYTES = 3_500_000_000
"""Uncompressed size above which a BigTIFF is written; a classic TIFF has at most 4 GiB."""
_MAX_SIDE = {"jpeg": 65_500, "webp": 16_383, "avif": 16_384, "heif": 16_384}
_BITS = {"jpeg": 8, "webp": 8, "bmp": 8, "avif": 12, "heif": 12}
"""Largest number of bits per channel; others have 16."""
_STORAGE_ERRORS = {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EPERM}


class LargeImageWriter:
    """Writer of an image file, row by row. The file appears when `finish` has encoded it.

    The suffix of `path` chooses the format. What the file of `like` holds besides pixels is copied; `not_kept` names
    what isn't.

    Args:
        path: The file to write.
        like: The image that the size, the pixel format and the metadata are taken from.
        width_factor: Width of the file as a multiple of the width of `like`.

    Raises:
        UserError: The format can't hold the image; or, while writing, the disk is full or the folder isn't writable.
    """

    def __init__(self, path: Path, like: LargeImage, width_factor: int = 1) -> None:
        self._path, self._like, self._width = path, like, width_factor * like.width
        self._kind = FORMATS.get(path.suffix.lower(), "")
        if not self._kind:
            raise UserError(f"{path}: files of type {path.suffix or 'none'} can't be written")
        self._check_pixels()
        self._metadata, self.not_kept = adapt(
            like.metadata, self._kind, (like.path, path.name), geometry_changes=width_factor != 1
        )
        self._bits = min(like.bits, _BITS.get(self._kind, 16))
        if like.bits > self._bits:
            self.not_kept.append(f"{like.bits} bits per channel ({self._bits} are written)")
        if self._kind == "avif" and self._bits > 8:  # written by libvips
            self.not_kept += ["EXIF"] if self._metadata.exif else []
            self.not_kept += ["grey (colours are written)"] if like.colours == 1 else []
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
            raise self._write_error(error) from error

    def finish(self) -> None:
        """Encode the rows and create the file."""
        try:
            with atomic_path(self._path, unique=True) as temporary:
                self._encode(self._image(), temporary)
                self._add_metadata(temporary)
        except (OSError, pyvips.Error) as error:
            raise self._write_error(error) from error

    def close(self) -> None:
        """Delete the temporary rows."""
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _check_pixels(self) -> None:
        """Raise UserError if the format can't hold the image."""
        like, name = self._like, self._path.name
        transparent = like.bands > like.colours
        if like.other_bands and self._kind != "tiff":
            raise UserError(f"{like.path} has {like.other_bands}, {name} can't store it: choose TIFF")
        if self._kind == "heif" and not can_read_heic():
            raise UserError(f"{self._path}: {REMEDY}")
        if transparent and (self._kind == "jpeg" or (self._kind == "bmp" and like.colours == 1)):
            raise UserError(f"{like.path} has transparency, {name} can't store it: choose PNG, TIFF or WebP")
        if self._kind in ("bmp", "webp") and like.metadata.profile[16:20] == b"GRAY":
            raise UserError(f"{like.path} has a profile for grey, {name} stores colours: choose PNG, TIFF or JPEG")
        if max(self._width, like.height) > (side := _MAX_SIDE.get(self._kind, 2**31)):
            raise UserError(f"{name} can't have more than {side} pixels per side: choose PNG or TIFF for {like.path}")

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
        """Return the written rows."""
        like = self._like
        size = self._width, like.height, like.bands
        if self._spool is None:
            image = pyvips.Image.new_from_memory(np.concatenate(self._rows).tobytes(), *size, like.image.format)
        else:
            self._spool.seek(0)
            image = pyvips.Image.tiffload_source(
                pyvips.Source.new_from_descriptor(self._spool.fileno()), access="sequential"
            )
        return image.copy(interpretation=like.image.interpretation)

    def _encode(self, image: pyvips.Image, path: Path) -> None:
        """Write the pixels alone, or also what only the encoder can write: the metadata of BMP, AVIF and HEIC."""
        if self._kind in ("bmp", "avif", "heif"):
            image = image.cast("uchar", shift=True) if self._bits == 8 else image
            pixels = image.numpy().reshape(image.height, image.width, image.bands)
            if self._kind == "bmp":
                bmp_headers.write(path, pixels, self._metadata)
            else:
                write_heif(path, pixels, self._metadata, self._bits)
            return
        with path.open("w+b") as file:  # TIFF files are read again while they are written
            target = pyvips.Target.new_to_descriptor(file.fileno())
            match self._kind:
                case "png":
                    image.pngsave_target(target, compression=6, keep="none")
                case "jpeg":
                    image.jpegsave_target(target, Q=95, keep="none")
                case "webp":
                    image.webpsave_target(target, Q=95, keep="none")
                case "tiff":
                    size = image.width * image.height * image.bands * self._like.dtype.itemsize
                    big, options = size > _MAX_TIFF_BYTES, {"compression": "deflate", "predictor": "horizontal"}
                    image.tiffsave_target(target, bigtiff=big, keep="none", **options)

    def _add_metadata(self, target: Path) -> None:
        match self._kind:
            case "png":
                png_chunks.write(target, self._metadata)
            case "jpeg":
                jpeg_segments.write(target, self._metadata)
            case "tiff":
                tiff_tags.write(target, self._metadata)
            case "webp":
                alpha = self._like.bands > self._like.colours
                webp_chunks.write(target, self._metadata, self._width, self._like.height, alpha=alpha)

    def _write_error(self, error: Exception) -> UserError:
        """Return the error of a file that couldn't be written, with advice if the storage is the cause."""
        if isinstance(error, OSError):
            storage = error.errno in _STORAGE_ERRORS
        else:  # libvips has no error codes
            storage = any(os.strerror(code) in str(error) for code in _STORAGE_ERRORS)
        advice = ": is the disk full, or the folder read-only?" if storage else ""
        return UserError(f"{self._path} couldn't be written ({error_message(error)}){advice}")
