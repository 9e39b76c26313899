"""Image files: 8-bit RGB is read exactly, other files are refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from deblurlab.errors import UserError
from deblurlab.media.images import find_images, read_image, write_png

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 31, 3), dtype=np.uint8)


def test_a_written_png_is_read_back_exactly(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", PIXELS)
    assert np.array_equal(read_image(tmp_path / "a.png"), PIXELS)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]  # no temporary file is left


@pytest.mark.parametrize("suffix", ["bmp", "tif", "png"])
def test_lossless_files_of_other_programs_are_read_exactly(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(file), PIXELS[..., ::-1])
    assert np.array_equal(read_image(file), PIXELS)


def _png16(file: Path) -> None:
    assert cv2.imwrite(str(file), PIXELS.astype(np.uint16) * 257)


def _tiff16(file: Path) -> None:
    assert cv2.imwrite(str(file.with_suffix(".tif")), PIXELS.astype(np.uint16) * 257)
    file.with_suffix(".tif").rename(file)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda f: Image.fromarray(PIXELS[..., 0]).save(f), "a grey image"),
        (lambda f: Image.fromarray(PIXELS[..., 0].astype(np.uint16)).save(f), "16-bit grey"),
        (lambda f: Image.fromarray(PIXELS).convert("RGBA").save(f), "with transparency"),
        (lambda f: Image.fromarray(PIXELS).convert("P").save(f), "mode P"),
        (_png16, "16 bits per channel"),
        (_tiff16, "bits|can't be read"),
        (lambda f: f.write_text("hello"), "isn't an image"),
        (lambda f: f.touch(), "isn't an image"),
        (lambda f: None, "doesn't exist"),
    ],
)
def test_unsupported_files_are_refused(tmp_path: Path, write: object, message: str) -> None:
    file = tmp_path / "a.png"
    write(file)  # type: ignore[operator]
    with pytest.raises(UserError, match=rf"a\.png.*({message})"):
        read_image(file)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(PIXELS).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UserError, match="damaged or truncated|isn't an image"):
        read_image(file)


def test_find_images_is_recursive_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.PNG", "a.jpg", "notes.txt", "b/.3.png.partial", ".hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in find_images(tmp_path)] == ["a.jpg", "b/1.PNG", "b/2.png"]


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no images"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="nowhere is not a folder"):
        find_images(tmp_path / "nowhere")


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, 3), (8, 1)])
def test_the_exif_orientation_is_applied(orientation: int, turns: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(pixels, turns))


@pytest.mark.parametrize(
    ("mode", "suffix", "message"),
    [
        ("CMYK", "jpg", "mode CMYK"),
        ("P", "png", "mode P"),
        ("RGBA", "png", "with transparency"),
        ("I;16", "png", "16-bit grey"),
    ],
)
def test_other_image_modes_are_refused_naming_the_file(mode: str, suffix: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{suffix}"
    Image.new(mode, (8, 8)).save(file)
    with pytest.raises(UserError, match=rf"a.{suffix} is .*{message}"):
        read_image(file)


def test_a_jpeg_with_the_suffix_png_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 100, 50)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - [200, 100, 50]).max() <= 2
