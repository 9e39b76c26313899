"""Fuzz targets: bytes become files, and reading them must return their content or raise UserError.

The input of `images` is the file; the others are a text and bytes with `SEPARATOR` between them. SHA256 in the text is
replaced by the right checksum, since mutations would never get past it otherwise.
"""

import json
import logging
import os
import tempfile
import warnings
import zlib
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import tifffile
from PIL import Image

from deblurlab.checkpoints.release import read_release
from deblurlab.datasets.frame_store import FrameStore
from deblurlab.errors import UserError
from deblurlab.media.large_image_writer import LargeImageWriter
from deblurlab.media.large_images import open_image
from deblurlab.media.pixels import full_scale

SEPARATOR = b"\n---\n"
IMAGES = ("a.png", "b/c.png")
"""Image files that a fuzzed frame store may name: empty files with the modification time 0."""
_MEMORY = Path("/dev/shm")
_ROOT = _MEMORY if _MEMORY.is_dir() else None


def release(data: bytes) -> None:
    """Read a release. The input is `release.json`, `SEPARATOR`, `weights.safetensors`."""
    index, _, weights = data.partition(SEPARATOR)
    with tempfile.TemporaryDirectory(dir=_ROOT) as name:
        folder = Path(name)
        (folder / "release.json").write_bytes(index.replace(b"SHA256", sha256(weights).hexdigest().encode()))
        (folder / "weights.safetensors").write_bytes(weights)
        try:
            found, tensors = read_release(folder)
        except UserError:
            return
    assert found["weights"]["sha256"] == sha256(weights).hexdigest()
    assert isinstance(found["model"]["class"], str)
    assert all(isinstance(key, str) for key in found["model"]["arguments"])
    assert sum(tensor.nbytes for tensor in tensors.values()) < len(weights)


def frames(data: bytes) -> None:
    """Read a frame store.

    The input is `index.json`, `SEPARATOR`, the list of frames, `SEPARATOR`, `pixels.bin`. FRAMES in the index is
    replaced by the list, CRC32 in the list by the checksum of all pixels.
    """
    index, listed, pixels = [*data.split(SEPARATOR, 2), b"", b""][:3]
    text = listed.replace(b"CRC32", str(zlib.crc32(pixels)).encode()).decode(errors="replace")
    checksum = sha256(text.encode()).hexdigest()
    index = index.replace(b"SHA256", checksum.encode()).replace(b"FRAMES", json.dumps(text).encode())
    with tempfile.TemporaryDirectory(dir=_ROOT) as name:
        root = Path(name)
        (root / "frames").mkdir()
        (root / "frames" / "index.json").write_bytes(index)
        (root / "frames" / "pixels.bin").write_bytes(pixels)
        for image in IMAGES:
            (root / image).parent.mkdir(exist_ok=True)
            (root / image).touch()
            os.utime(root / image, ns=(0, 0))
        try:
            store = FrameStore(root)
            read = [store(root / image) for image in IMAGES if root / image in store]
        except UserError:
            return
    assert len(read) == len(store)
    parts = [image.tobytes() for image in read]
    assert pixels in (b"".join(parts), b"".join(reversed(parts)))


def images(data: bytes) -> None:
    """Read an image file, and write it again without changing its pixels.

    Pillow and tifffile must read the same pixels from the input, where they accept it, and from the output.
    """
    with tempfile.TemporaryDirectory(dir=_ROOT) as name:
        source = Path(name) / "x"
        source.write_bytes(data)
        try:
            image = open_image(source, max_pixels=1 << 16)
            pixels = image.read(image.height)
            target = Path(name) / f"y.{image.kind}"
            with LargeImageWriter(target, image) as writer:
                writer.write(pixels)
                writer.finish()
        except UserError:
            return
        _compare(pixels, source, tolerance=LOSSY.get(image.kind, 0))
        if image.kind in ("png", "tiff", "bmp"):
            assert _compare(pixels, target, tolerance=0), "no other program reads the restored file"


LOSSY = {"jpeg": 4, "webp": 4, "avif": 8, "heif": 8}
"""Mean difference of two decoders in levels."""


def _compare(pixels: np.ndarray, file: Path, *, tolerance: float) -> bool:
    """Compare pixels with those that another program reads from a file; return whether it reads it."""
    is_tiff = file.read_bytes()[:2] in (b"II", b"MM")
    other = (
        _tifffile(file, strict=file.name == "x")
        if is_tiff
        else _opencv(file)
        if pixels.dtype == np.uint16
        else _pillow(file)
    )
    if other is None:
        return False
    other = other if other.ndim == 3 else other[..., None]
    if other.shape[:2] != pixels.shape[:2]:
        raise AssertionError(f"{file.name}: {pixels.shape} instead of {other.shape}")
    bands = min(other.shape[2], pixels.shape[2])
    difference = np.abs(other[..., :bands].astype(int) - pixels[..., :bands]).mean()
    assert difference <= tolerance, f"{file.name}: differs by {difference}"
    return True


def _pillow(file: Path) -> np.ndarray | None:
    """Return pixels as Pillow reads them, without rotation; None if it doesn't."""
    try:
        with warnings.catch_warnings(), Image.open(file, formats=("PNG", "JPEG", "BMP", "WEBP")) as image:
            warnings.simplefilter("ignore")
            if ";16" in str(image.tile):  # which becomes 8 bits
                return None
            if image.mode == "P":
                image = image.convert("RGBA" if "transparency" in image.info else "RGB")
            return np.asarray(image.convert("L") if image.mode == "1" else image)
    except Exception:
        return None


def _opencv(file: Path) -> np.ndarray | None:
    """Return 16-bit pixels as OpenCV reads them; None if it doesn't."""
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint16:
        return None
    return image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 else image


class _Refuse(logging.Handler):
    """Raises what a library logs about a damaged file."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError(record.getMessage())


def _tifffile(file: Path, *, strict: bool) -> np.ndarray | None:
    """Return pixels as tifffile reads them; None if they are another form of the colours, or if a strict one warns."""
    log, handler = logging.getLogger("tifffile"), _Refuse(logging.WARNING)
    if strict:
        log.addHandler(handler)
    try:
        with tifffile.TiffFile(file) as opened:
            page = opened.pages[0]
            if page.photometric not in (0, 1, 2) or 1 in page.extrasamples or not sum(page.databytecounts):
                return None
            pixels = page.asarray()
            pixels = pixels.transpose(1, 2, 0) if page.planarconfig == 2 and pixels.ndim == 3 else pixels
            pixels = pixels.astype(np.uint8) * 255 if page.bitspersample == 1 else pixels.copy()
            if page.photometric == 0:
                colours = pixels if pixels.ndim == 2 else pixels[..., 0]
                colours[...] = full_scale(pixels) - colours
            return pixels
    except Exception:
        return None
    finally:
        log.removeHandler(handler)
