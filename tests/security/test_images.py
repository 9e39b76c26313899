"""Untrusted images: no other program or file is used, and memory is bounded by the number of pixels."""

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblurlab.batch.inputs import find_inputs
from deblurlab.errors import UserError
from deblurlab.media.images import image_size, read_image
from deblurlab.media.large_images import open_image
from deblurlab.restorers.psf import File
from deblurlab.runs.storage import Folder
from security.hostile import bounded, png

SVG = """<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY secret SYSTEM "file://{0}">]>
<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><image href="{0}" width="64" height="64"/>
<text>&secret;</text></svg>"""
DISGUISED = {
    "svg": SVG.encode(),
    "svg without entities": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n",
    "playlist": b"#EXTM3U\n/etc/passwd\n",
    "vips": struct.pack(">I", 0xB6A6F208) + bytes(60),
    "csv": b"1,2\n3,4\n",
    "ppm": b"P6 9 9 255\n" + bytes(243),
}


@pytest.mark.parametrize("kind", DISGUISED)
@pytest.mark.parametrize("read", [read_image, open_image], ids=["training", "restoring"])
def test_other_formats_named_png_are_refused_before_decoding(kind: str, read: object, tmp_path: Path) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(DISGUISED[kind])
    with pytest.raises(UserError, match=r"x.png (is|isn't|can't)") as refused:
        read(file)  # type: ignore[operator]
    assert not {"glib", "Ghostscript", "XML"} & set(str(refused.value).replace(":", " ").split())


def test_a_psf_in_postscript_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "k.png"
    file.write_bytes(DISGUISED["postscript"])
    with pytest.raises(UserError, match="k.png can't be read as a psf"):
        File(path=str(file))


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_a_huge_size_in_the_header_allocates_no_memory(width: int, height: int, tmp_path: Path) -> None:
    file = png(tmp_path / "x.png", width, height)
    for read in (read_image, image_size, open_image, lambda path: File(path=str(path))):
        with bounded(), pytest.raises(UserError, match="x.png"):
            read(file)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_images_that_are_decoded_as_a_whole_are_limited(kind: str, tmp_path: Path) -> None:
    if kind == "PNG":
        file = png(tmp_path / "x", 20_000, 20_000, interlaced=True)
    else:
        content = io.BytesIO()
        Image.new("RGB", (16, 16)).save(content, "WEBP", lossless=True)
        data = bytearray(content.getvalue())
        data[21:25] = struct.pack("<I", 16383 - 1 | (16383 - 1) << 14)  # 14 bits per side, minus one
        (file := tmp_path / "x").write_bytes(data)
    with pytest.raises(UserError, match="x has .* pixels and can't be read row by row: save it as TIFF"):
        open_image(file)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_truncated_images_are_refused(kind: str, tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(content, kind)
    data, file = content.getvalue(), tmp_path / f"x.{kind.lower()}"
    for end in (1, 9, 30, len(data) // 2):
        file.write_bytes(data[:end])
        with pytest.raises(UserError, match="x\\."):
            read_image(file)
        with pytest.raises(UserError, match="x\\."):
            (image := open_image(file)).read(image.height)


def test_a_psf_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    np.save(file := tmp_path / "k.npy", np.array([[print]], object), allow_pickle=True)
    with pytest.raises(UserError, match="k.npy can't be read as a psf"):
        File(path=str(file))


@pytest.mark.parametrize(
    "shape", ["(10**5, 10**5)", "(100000, 100000)", "(9000000000000000000, 9)", "(5000, 1)", "(3,)", "(-1, 3)"]
)
def test_a_huge_psf_in_the_header_allocates_no_memory(shape: str, tmp_path: Path) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117).encode() + b"\n"
    file = tmp_path / "k.npy"
    file.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(40_000))
    tracemalloc.start()
    with pytest.raises(UserError, match="k.npy can't be read as a psf"):
        File(path=str(file))
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_an_archive_named_npy_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", np.eye(3))
    (tmp_path / "k.npz").rename(tmp_path / "k.npy")
    with pytest.raises(UserError, match="k.npy can't be read as a psf"):
        File(path=str(tmp_path / "k.npy"))


def test_links_out_of_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "private").mkdir()
    for place in ("private/secret.png", "in/mine.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / place)
    (tmp_path / "in/stolen.png").symlink_to(tmp_path / "private/secret.png")
    (tmp_path / "in/folder").symlink_to(tmp_path / "private")
    (tmp_path / "in/again.png").symlink_to(tmp_path / "in/mine.png")
    tasks, errors, _ = find_inputs([str(tmp_path / "in")], tmp_path / "out")
    assert [task.source.name for task in tasks] == ["again.png", "mine.png"]
    assert len(errors) == 2
    assert "in/folder links to a folder, which isn't searched: name it as an input" in errors[0]
    assert "in/stolen.png links to a file outside of" in errors[1]
    assert list(Folder(tmp_path / "in").keys()) == ["again.png", "mine.png"]
