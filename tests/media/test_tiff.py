"""TIFF files and EXIF in them, compared with what Pillow and tifffile write and read."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

import image_sources as sources
from deblurlab.errors import UserError
from deblurlab.media.large_images import open_image
from image_sources import rewrite

MAKER_NOTE = b"Nikon\0\2\x10\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"


def _with_subsampled_colours(path: Path) -> None:
    """Write YCbCr with one pair of Cb and Cr for each square of four pixels (TIFF 6.0, section 21)."""
    y, cb, cr = (np.asarray(band) for band in Image.fromarray(sources.RGB).convert("YCbCr").split())
    squares = [y[0::2, 0::2], y[0::2, 1::2], y[1::2, 0::2], y[1::2, 1::2], cb[::2, ::2], cr[::2, ::2]]
    pixels = np.stack(squares, axis=-1).tobytes()
    numbers = {256: 64, 257: 48, 259: 1, 262: 6, 273: 0, 277: 3, 278: 48, 279: len(pixels), 284: 1}
    entries = {code: struct.pack("<HHIHH", code, 3, 1, value, 0) for code, value in numbers.items()}
    entries[530] = struct.pack("<HHIHH", 530, 3, 2, 2, 2)
    start = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries[258] = struct.pack("<HHII", 258, 3, 3, start)
    entries[273] = struct.pack("<HHII", 273, 4, 1, start + 6)
    directory = b"".join(entries[code] for code in sorted(entries))
    bits = struct.pack("<3H", 8, 8, 8)
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4) + bits + pixels)


def _with_ycbcr(path: Path) -> None:
    Image.fromarray(sources.RGB).convert("YCbCr").save(path)


@pytest.mark.parametrize("write", [_with_ycbcr, _with_subsampled_colours])
def test_ycbcr_without_jpeg_compression_is_refused(tmp_path: Path, write: object) -> None:
    write(tmp_path / "x.tif")  # type: ignore[operator]
    assert np.abs(cv2.imread(str(tmp_path / "x.tif"))[..., ::-1].astype(int) - sources.RGB).max() <= 3
    with pytest.raises(UserError, match=r"x\.tif stores its colours as YCbCr: convert it to grey or RGB"):
        open_image(tmp_path / "x.tif")


def test_ycbcr_with_jpeg_compression_is_decoded(tmp_path: Path) -> None:
    Image.fromarray(sources.RGB).save(tmp_path / "x.tif", compression="jpeg", quality=95)
    assert tifffile.TiffFile(tmp_path / "x.tif").pages[0].tags[262].value in (2, 6)
    image = open_image(tmp_path / "x.tif")
    with Image.open(tmp_path / "x.tif") as other:
        expected = np.asarray(other.convert("RGB")).astype(int)
    assert np.abs(image.read(48) - expected).max() <= 2


@pytest.mark.parametrize(("tags", "kind"), [([(50706, 1, 4, (1, 4, 0, 0), True)], 0), ([], 1)])
def test_previews_of_raw_files_are_refused(tmp_path: Path, tags: list[object], kind: int) -> None:
    """DNG is known by its version, other raw files by a reduced image before the others."""
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(sources.RGB[::4, ::4], photometric="rgb", subifds=1, subfiletype=kind, extratags=tags)
        file.write(sources.RGB, photometric="rgb", subfiletype=0)
    with pytest.raises(UserError, match=r"x\.tif is a camera raw file, whose first image may be a preview"):
        open_image(tmp_path / "x.tif")


def test_further_images_are_named(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(sources.RGB, photometric="rgb", subifds=1)
        file.write(sources.RGB[::4, ::4], photometric="rgb", subfiletype=1)
    assert rewrite(tmp_path / "x.tif", tmp_path / "y.tif") == ["further images (SubIFDs)"]
    page = tifffile.TiffFile(tmp_path / "y.tif").pages[0]
    assert page.subifds is None
    assert np.array_equal(page.asarray(), sources.RGB)


def test_names_of_documents_and_pages_are_kept(tmp_path: Path) -> None:
    tags = [(269, 2, 0, "contract", True), (285, 2, 0, "first page", True)]
    tifffile.imwrite(tmp_path / "x.tif", sources.RGB, photometric="rgb", metadata=None, extratags=tags)
    assert rewrite(tmp_path / "x.tif", tmp_path / "y.tif") == []
    found = tifffile.TiffFile(tmp_path / "y.tif").pages[0].tags
    assert (found[269].value, found[285].value) == ("contract", "first page")


def _exif(order: str) -> bytes:
    """Return EXIF with a directory for interoperability, a maker note and a thumbnail, in a byte order."""
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = sources.MAKER
    exif[0x8769] = {0x9003: sources.DATE, 0x927C: MAKER_NOTE, 0xA005: {1: "R98", 2: b"0100"}}
    content = bytearray(exif.tobytes().removeprefix(b"Exif\0\0"))
    layout = order + "H"
    (count,) = struct.unpack_from(layout, content, 8)
    struct.pack_into(order + "I", content, 10 + 12 * count, len(content))
    return bytes(content) + struct.pack(order + "HHHIHHI", 1, 0x0103, 3, 1, 6, 0, 0)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_in_tiff_files_is_complete_or_named(tmp_path: Path, order: str, suffix: str) -> None:
    sources.save(tmp_path / f"x{suffix}", exif=b"Exif\0\0" + _exif(order))
    lost = ["EXIF thumbnail", "positions in the maker note"]
    assert rewrite(tmp_path / f"x{suffix}", tmp_path / f"y{suffix}") == []
    assert rewrite(tmp_path / f"x{suffix}", tmp_path / "y.tif") == lost
    assert rewrite(tmp_path / "y.tif", tmp_path / "z.tif") == lost[1:]
    assert rewrite(tmp_path / "z.tif", tmp_path / "z.jpg") == lost[1:]
    for name in (f"y{suffix}", "y.tif", "z.tif", "z.jpg"):
        with Image.open(tmp_path / name) as image:
            details = image.getexif().get_ifd(0x8769)
            assert (details[0x9003], details[0x927C]) == (sources.DATE, MAKER_NOTE), name
            assert image.getexif().get_ifd(0xA005) == {1: "R98", 2: b"0100"}, name
            assert bool(image.getexif().get_ifd(ExifTags.IFD.IFD1)) == (name == f"y{suffix}"), name
