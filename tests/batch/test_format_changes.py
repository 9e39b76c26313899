"""Output in another format than the input: what is carried over, named as lost, or refused; and the record of it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import pyvips
import tifffile
from PIL import Image

import image_sources as sources
from deblurlab.batch.journal import JOURNAL, Journal
from deblurlab.inference.predictor import Restorer
from deblurlab.media import large_image_writer
from image_readers import bits_of

Restore = Callable[..., int]
KEPT = {
    ("jpg", ".tif"): 6, ("png", ".jpg"): 6, ("tif", ".jpg"): 6, ("tif", ".png"): 6, ("webp", ".tif"): 6,
    ("jpg", ".webp"): 6, ("heic", ".jpg"): None, ("avif", ".png"): None, ("jpg", ".avif"): 1,
}  # fmt: skip
"""Suffixes of source and target, and the orientation that the EXIF of the target must have, None for none or 1."""


@pytest.mark.parametrize(("source", "target"), KEPT)
def test_exif_is_carried_over_to_other_formats(restore: Restore, source: str, target: str) -> None:
    orientation = KEPT[source, target]
    sources.with_exif(Path(f"x.{source}"), orientation or 6)
    assert restore(f"x.{source}", "-o", f"y{target}") == 0
    with Image.open(f"y{target}") as image:
        exif = image.getexif()
        assert exif.get(0x0112, 1) == (orientation or 1)
        assert (exif[0x010F].strip("\0"), exif[0x4746]) == (sources.MAKER, sources.RATING)
        assert exif.get_ifd(0x8769)[0x9003] == sources.DATE
        assert tuple(map(float, exif.get_ifd(0x8825)[2])) == sources.LATITUDE


@pytest.mark.parametrize(
    ("write", "source", "target", "lost"),
    [
        (sources.with_text, "x.png", "y.jpg", "text 'parameters', text 'Titel', text 'long'"),
        (sources.with_text, "x.jpg", "y.png", "comment"),
        (sources.with_exif, "x.jpg", "y.bmp", "EXIF"),
        (sources.with_xmp, "x.png", "y.bmp", "XMP"),
        (sources.with_resolution, "x.png", "y.webp", "resolution"),
        (sources.gain_map, "x.jpg", "y.png", "gain map (Ultra HDR)"),
        (sources.second_image, "x.jpg", "y.png", "the second image (MPO)"),
        (sources.deep, "x.png", "y.jpg", "16 bits per channel (8 are written)"),
        (sources.deep, "x.png", "y.bmp", "16 bits per channel (8 are written)"),
        (sources.deep, "x.png", "y.avif", "16 bits per channel (12 are written)"),
        (sources.deep, "x.png", "y.heic", "16 bits per channel (12 are written)"),
        (sources.with_text, "x.png", "y.png", ""),
    ],
)
def test_what_is_lost_is_named_and_recorded(
    restore: Restore,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], None],
    source: str,
    target: str,
    lost: str,
) -> None:
    write(Path(source))
    assert restore(source, "-o", target) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "not kept" in line]
    assert lines == ([f"{source}: not kept: {lost}"] if lost else [])
    assert ", ".join(json.loads(Path(JOURNAL).read_text())["not_kept"]) == lost
    assert restore(source, "-o", target) == 0  # the column doesn't decide what is skipped
    assert "1 skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("write", "source", "target", "message"),
    [
        (
            sources.colour_tags,
            "x.png",
            "y.jpg",
            "has a colour tag cICP, without which its colours are wrong, and y.jpg can't",
        ),
        (sources.infrared, "x.tif", "y.png", "a band that is neither colour nor transparency, y.png can't store it"),
        (sources.transparent, "x.png", "y.jpg", "transparency, y.jpg can't store it: choose PNG, TIFF or WebP"),
    ],
)
def test_changes_of_the_format_that_change_colours_are_refused(
    restore: Restore,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Path], None],
    source: str,
    target: str,
    message: str,
) -> None:
    write(Path(source))
    assert restore(source, "-o", target) == 1
    assert message in capsys.readouterr().err
    assert not Path(target).exists()


@pytest.mark.parametrize(
    ("suffix", "bits", "error"), [(".bmp", 8, 1), (".jpg", 8, 3), (".avif", 12, 3), (".heic", 12, 3)]
)
def test_16_bits_become_those_of_the_format(tmp_path: Path, suffix: str, bits: int, error: int) -> None:
    sources.deep(tmp_path / "x.png")
    target = tmp_path / f"y{suffix}"
    assert sources.rewrite(tmp_path / "x.png", target) == [f"16 bits per channel ({bits} are written)"]
    if suffix == ".heic":
        file = pillow_heif.open_heif(target, convert_hdr_to_8bit=False)
        found, stored = np.asarray(file) / 257, file.info["bit_depth"]
    else:
        with Image.open(target) as image:
            found = np.asarray(image).astype(float)
        stored = bits_of(target) if suffix == ".avif" else 8
    assert stored == bits
    assert np.abs(found - sources.RGB).mean() < error


def test_grey_of_10_bits_becomes_colours_in_avif(tmp_path: Path) -> None:
    """libvips writes no AVIF without chroma."""
    Image.fromarray(sources.RGB16[..., 0]).save(tmp_path / "x.png")
    lost = sources.rewrite(tmp_path / "x.png", tmp_path / "y.avif")
    assert lost == ["16 bits per channel (12 are written)", "grey (colours are written)"]
    with Image.open(tmp_path / "y.avif") as image:
        found = np.asarray(image).astype(int)
    assert np.ptp(found, axis=2).max() <= 1
    assert np.abs(found - sources.RGB[..., :1]).max() <= 4


def test_heic_needs_pillow_heif_before_the_computation(
    restore: Restore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.save(Path("x.png"))
    monkeypatch.setattr(large_image_writer, "can_read_heic", lambda: False)
    monkeypatch.setattr(Restorer, "rows", None)
    assert restore("x.png", "-o", "y.heic") == 1
    assert "y.heic: HEIC needs pillow-heif: pip install 'deblurlab[heif]'\n" in capsys.readouterr().err
    assert not list(Path().glob("*.heic"))


def test_colour_tags_that_mean_srgb_are_not_missed_in_other_formats(
    restore: Restore, capsys: pytest.CaptureFixture[str]
) -> None:
    sources.save(Path("x.png"))
    sources.insert(Path("x.png"), sources.chunk(b"gAMA", (45455).to_bytes(4, "big")) + sources.chunk(b"sRGB", b"\0"))
    assert restore("x.png", "-o", "y.jpg") == 0
    assert "not kept" not in capsys.readouterr().err


def test_a_gain_map_needs_the_size_of_its_image(restore: Restore, capsys: pytest.CaptureFixture[str]) -> None:
    sources.gain_map(Path("x.jpg"))
    assert restore("x.jpg", "-o", "out", "--side-by-side") == 0
    assert "x.jpg: not kept: gain map (Ultra HDR)" in capsys.readouterr().err
    with Image.open("out/x.jpg") as image:
        assert (image.format, image.size) == ("JPEG", (128, 48))


def test_a_gain_map_of_ultra_hdr_is_found_by_other_readers(restore: Restore) -> None:
    """libvips writes an Ultra HDR file with libultrahdr, and reads the restored one with it."""
    colours = np.clip(np.linspace(0, 4, 128 * 64).reshape(64, 128, 1).repeat(3, axis=2), 0, None).astype(np.float32)
    pyvips.Image.new_from_array(colours).copy(interpretation="scrgb").uhdrsave("x.jpg")
    assert restore("x.jpg", "-o", "out") == 0
    before, after = (pyvips.Image.new_from_file(name) for name in ("x.jpg", "out/x.jpg"))
    assert after.get("vips-loader") == "uhdrload"
    assert after.get("gainmap-data") == before.get("gainmap-data")
    assert after.get("gainmap-max-content-boost") == before.get("gainmap-max-content-boost")


def test_big_endian_tiff_keep_their_tags(restore: Restore) -> None:
    """GeoTIFF tags, in a BigTIFF of the other byte order."""
    scale = (33550, 12, 3, (0.5, 0.25, 0.0), True)
    tifffile.imwrite(
        "x.tif", sources.RGB, photometric="rgb", metadata=None, byteorder=">", bigtiff=True, extratags=[scale],
        resolution=(120, 60), resolutionunit="centimeter", software="by hand",
    )  # fmt: skip
    assert restore("x.tif", "-o", "out") == 0
    tags = tifffile.TiffFile("out/x.tif").pages[0].tags
    assert tags[33550].value == (0.5, 0.25, 0.0)
    assert (tags[282].value, tags[283].value, int(tags[296].value)) == ((120, 1), (60, 1), 3)
    assert tags[305].value == "by hand"


@pytest.mark.parametrize(("suffix", "side"), [(".webp", 16_384), (".jpg", 65_501)])
def test_sides_that_a_format_cannot_hold_are_refused_before_the_computation(
    restore: Restore, capsys: pytest.CaptureFixture[str], suffix: str, side: int
) -> None:
    sources.save(Path("x.png"), np.zeros((1, side, 3), np.uint8))
    assert restore("x.png", "-o", f"y{suffix}") == 1
    errors = capsys.readouterr().err
    assert f"y{suffix} can't have more than {side - 1} pixels per side: choose PNG or TIFF for x.png" in errors
    assert "disk full" not in errors


def test_a_record_that_cannot_be_written_is_no_failure_of_the_images(
    restore: Restore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png"):
        sources.save(Path(name))
    monkeypatch.setattr(Journal, "contains", lambda self, task: False)
    Path("out", JOURNAL).mkdir(parents=True)  # root may write to read-only files
    assert restore("a.png", "b.png", "-o", "out") == 0
    lines = capsys.readouterr().err.splitlines()
    message = "can't be written (Is a directory): the files are restored, but the same command won't skip them"
    assert lines == [f"deblurlab: out/{JOURNAL} {message}", "2 restored: out/"]
    assert {path.name for path in Path("out").glob("*.png")} == {"a.png", "b.png"}
