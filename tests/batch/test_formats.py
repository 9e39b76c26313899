"""What `deblurlab restore` keeps, converts and refuses of each image format. docs/restoring.md has the same table."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.MpoImagePlugin import MpoImageFile

import image_sources as sources
from deblurlab.config import CONF
from image_readers import bits_of, open_any, read_exif
from image_sources import ALPHA, DATE, LATITUDE, MAKER, PROFILE, RATING, XMP
from support_tables import markdown

FORMATS = {
    "PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "WebP": ".webp", "BMP": ".bmp", "AVIF": ".avif", "HEIC": ".heic",
}  # fmt: skip
Check = Callable[[Path, Path], None]
STRENGTH, TOLERANCE = 0.1, 3
"""Weight of the network with random weights, and largest mean difference between source and restored file then."""


def _same_depth(before: Path, after: Path) -> None:
    assert bits_of(before) == bits_of(after) > 8


def _same_alpha(before: Path, after: Path) -> None:
    found = np.asarray(open_any(after))
    assert found.shape == (48, 64, 4)
    assert np.abs(found[..., 3].astype(int) - ALPHA).max() <= (6 if after.suffix == ".heic" else 0)


def _same_grey(before: Path, after: Path) -> None:
    found = open_any(after)
    assert found.mode == open_any(before).mode == "L"
    assert np.abs(np.asarray(found).astype(int) - sources.RGB[..., 0]).mean() < TOLERANCE


def _same_grey_alpha(before: Path, after: Path) -> None:
    found = np.asarray(open_any(after)).astype(int)  # RGBA of AVIF and HEIC
    assert found.shape == (48, 64, 4 if after.suffix in (".avif", ".heic") else 2)
    assert np.ptp(found[..., :-1], axis=2).max() == 0
    assert np.abs(found[..., -1] - ALPHA).max() <= (6 if after.suffix == ".heic" else 0)
    assert np.abs(found[..., 0] - sources.RGB[..., 0])[ALPHA > 100].mean() < TOLERANCE


def _colours_of_palette(before: Path, after: Path) -> None:
    assert open_any(before).mode == "P"
    expected, found = open_any(before).convert("RGBA"), open_any(after)
    assert found.mode == "RGBA"
    assert np.array_equal(np.asarray(found)[..., 3], np.asarray(expected)[..., 3])
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).mean() < TOLERANCE


def _same_profile(before: Path, after: Path) -> None:
    if after.suffix == ".bmp":
        content = after.read_bytes()
        offset, length = struct.unpack_from("<II", content, 14 + 112)
        assert content[14 + offset : 14 + offset + length] == PROFILE
    else:
        assert open_any(after).info["icc_profile"] == PROFILE


def _same_exif(before: Path, after: Path) -> None:
    exif = read_exif(after)
    assert (exif[0x010F], exif[0x4746]) == (MAKER, RATING)
    assert exif.get_ifd(0x8769)[0x9003] == DATE
    assert tuple(map(float, exif.get_ifd(0x8825)[2])) == LATITUDE


def _same_xmp(before: Path, after: Path) -> None:
    if after.suffix == ".tif":
        assert bytes(tifffile.TiffFile(after).pages[0].tags[700].value) == XMP
    else:
        assert open_any(after).info["xmp"] == XMP


def _same_direction(before: Path, after: Path) -> None:
    if after.suffix in (".avif", ".heic"):  # their decoders turn the pixels
        assert read_exif(after).get(0x0112, 1) == 1
    else:
        assert read_exif(after)[0x0112] == 6
    shown = np.asarray(open_any(after)).astype(int)
    if after.suffix in (".png", ".jpg", ".webp"):
        shown = np.rot90(shown, 3)
    error = np.abs(shown - np.rot90(sources.RGB, 3)).mean()
    assert error < 10  # JPEG and WebP halve the chroma; another rotation would differ by 60


def _same_pixels(before: Path, after: Path) -> None:
    found = np.asarray(open_any(after).convert("RGB")).astype(int)
    assert np.abs(found - np.asarray(open_any(before).convert("RGB"))).mean() < TOLERANCE


def _same_tags(before: Path, after: Path) -> None:
    old, new = (
        [found for found in sources.read_chunks(path.read_bytes()) if found[0] in (b"gAMA", b"cHRM", b"cICP")]
        for path in (before, after)
    )
    assert old == new
    assert len(new) == 3


def _same_resolution(before: Path, after: Path) -> None:
    assert open_any(after).info["dpi"] == pytest.approx((300, 200), abs=0.02)


def _no_resolution(before: Path, after: Path) -> None:
    image = open_any(after)
    if after.suffix == ".jpg":
        assert image.info["jfif_unit"] == 0
    elif after.suffix == ".bmp":
        assert after.read_bytes()[38:46] == bytes(8)
    elif after.suffix == ".tif":
        assert not {282, 283, 296} & {tag.code for tag in tifffile.TiffFile(after).pages[0].tags}
    else:
        assert "dpi" not in image.info
        assert 282 not in image.getexif()


def _same_text(before: Path, after: Path) -> None:
    old, new = open_any(before), open_any(after)
    if after.suffix == ".jpg":
        assert new.info["comment"] == b"taken by hand"
    elif after.suffix == ".tif":
        tags = tifffile.TiffFile(after).pages[0].tags
        assert (tags[270].value, tags[306].value) == ("taken by hand", DATE)
    else:
        assert new.text == old.text == {"parameters": "taken by hand", "Titel": "Grün", "long": "x" * 500}


def _same_second(before: Path, after: Path) -> None:
    _same_pixels(before, after)
    with Image.open(before) as old, Image.open(after) as new:
        assert isinstance(old, MpoImageFile)
        assert isinstance(new, MpoImageFile)
        assert (old.n_frames, new.n_frames) == (2, 2)
        old.seek(1)
        new.seek(1)
        assert np.array_equal(np.asarray(new), np.asarray(old))


def _one_image(before: Path, after: Path) -> None:
    assert open_any(after).format == "JPEG"
    assert getattr(open_any(after), "n_frames", 1) == 1


def _same_fourth(before: Path, after: Path) -> None:
    old, new = tifffile.TiffFile(before).pages[0], tifffile.TiffFile(after).pages[0]
    assert new.tags["ExtraSamples"].value == old.tags["ExtraSamples"].value
    assert np.array_equal(new.asarray()[..., 3], ALPHA)


def _divided(before: Path, after: Path) -> None:
    page = tifffile.TiffFile(after).pages[0]
    assert page.tags["ExtraSamples"].value == (2,)
    visible = ALPHA > 100
    assert np.array_equal(page.asarray()[..., 3], ALPHA)
    for path, expected in ((before, False), (after, True)):
        error = np.abs(tifffile.imread(path)[..., :3].astype(int) - sources.RGB)[visible].mean()
        assert (error < TOLERANCE) == expected, error


ALL = tuple(FORMATS)
WITH_EXIF = tuple(kind for kind in FORMATS if kind != "BMP")
CASES: dict[str, tuple[Callable[[Path], None], Check, dict[str, str]]] = {
    "more than 8 bits": (sources.deep, _same_depth, dict.fromkeys(("PNG", "TIFF", "AVIF", "HEIC"), "kept")),
    "transparency": (sources.transparent, _same_alpha, dict.fromkeys(set(ALL) - {"JPEG"}, "kept")),
    "grey": (sources.grey, _same_grey, dict.fromkeys(set(ALL) - {"WebP"}, "kept")),
    "grey with transparency": (
        sources.grey_transparent, _same_grey_alpha, dict.fromkeys(("PNG", "TIFF", "AVIF", "HEIC"), "kept"),
    ),
    "palette with transparency": (sources.palette, _colours_of_palette, {"PNG": "converted (RGB)"}),
    "ICC profile": (sources.with_profile, _same_profile, dict.fromkeys(ALL, "kept")),
    "EXIF": (sources.with_exif, _same_exif, dict.fromkeys(WITH_EXIF, "kept")),
    "XMP": (sources.with_xmp, _same_xmp, dict.fromkeys(WITH_EXIF, "kept")),
    "orientation": (
        sources.turned, _same_direction,
        dict.fromkeys(WITH_EXIF, "kept") | dict.fromkeys(("AVIF", "HEIC"), "turned upright"),
    ),
    "colour tags (cICP, gAMA, cHRM)": (sources.colour_tags, _same_tags, {"PNG": "kept"}),
    "HDR (PQ, HLG)": (sources.hdr, _same_pixels, dict.fromkeys(ALL, "refused")),
    "animation, pages": (
        sources.animated, _same_pixels, dict.fromkeys(("PNG", "TIFF", "WebP", "AVIF", "HEIC"), "refused"),
    ),
    "resolution": (
        sources.with_resolution, _same_resolution, dict.fromkeys(("PNG", "JPEG", "TIFF", "BMP"), "kept"),
    ),
    "no resolution": (sources.without_resolution, _no_resolution, dict.fromkeys(ALL, "kept")),
    "text, comment": (sources.with_text, _same_text, dict.fromkeys(("PNG", "JPEG", "TIFF"), "kept")),
    "gain map": (sources.gain_map, _same_second, {"JPEG": "kept"}),
    "second image (MPO)": (sources.second_image, _one_image, {"JPEG": "named"}),
    "fourth band, not transparency": (sources.infrared, _same_fourth, {"TIFF": "kept"}),
    "premultiplied transparency": (sources.premultiplied, _divided, {"TIFF": "converted (divided)"}),
}  # fmt: skip
"""Property: how a file with it is written, the check of the restored file, and the outcome for each format."""
MESSAGES = {"HDR (PQ, HLG)": "is HDR (", "animation, pages": "is animated or has several pages"}
COMBINATIONS = [(kind, name, outcome) for name, (*_, outcomes) in CASES.items() for kind, outcome in outcomes.items()]
IDS = [f"{kind}-{name}" for kind, name, _ in COMBINATIONS]


@pytest.mark.parametrize(("kind", "name", "outcome"), sorted(COMBINATIONS), ids=sorted(IDS))
def test_properties_of_files(
    restore: Callable[..., int], capsys: pytest.CaptureFixture[str], kind: str, name: str, outcome: str
) -> None:
    write, check, _ = CASES[name]
    source, target = Path(f"in/x{FORMATS[kind]}"), Path(f"out/x{FORMATS[kind]}")
    source.parent.mkdir()
    write(source)
    code = restore(source, "-o", "out", "--strength", STRENGTH)
    errors = capsys.readouterr().err
    if outcome == "refused":
        assert code == 1
        assert MESSAGES[name] in errors
        assert not target.exists()
        return
    assert (code, "not kept" in errors) == (0, outcome == "named"), errors
    check(source, target)


def test_the_documentation_has_the_table() -> None:
    rows = [{"property": name} | {kind: CASES[name][2].get(kind, "") for kind in FORMATS} for name in CASES]
    assert f"### What is kept: images\n\n{markdown(rows)}" in (CONF.parent / "docs" / "restoring.md").read_text()
