"""Metadata of image files: rare structures, sizes and byte orders. tests/batch/test_formats.py has the usual ones."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from PIL import Image, PngImagePlugin

import image_sources as sources
from deblurlab.errors import UserError
from deblurlab.media.large_image_writer import LargeImageWriter
from deblurlab.media.large_images import open_image
from deblurlab.media.tiff_directories import upright
from image_sources import rewrite

NOISE = np.random.default_rng(0).bytes(200_000)
IPTC = b"\x1c\x02\x78\x00\x07Caption"
RESOURCES = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC
EXTENDED = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 5, 0) + b"<xmp>"


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _jpeg(path: Path, segments: bytes = b"", tail: bytes = b"", **options: object) -> Path:
    sources.save(path, **options)
    content = path.read_bytes()
    path.write_bytes(content[:2] + segments + content[2:] + tail)
    return path


def _segments(path: Path) -> list[bytes]:
    """Return the contents of Pillow's list of segments."""
    with Image.open(path) as image:
        return [content for _, content in image.applist]  # type: ignore[attr-defined]


def test_a_profile_of_several_segments_is_kept(tmp_path: Path) -> None:
    source = _jpeg(tmp_path / "x.jpg", icc_profile=NOISE)
    for suffix in (".jpg", ".png", ".tif", ".webp"):
        assert rewrite(source, tmp_path / f"y{suffix}") == []
        with Image.open(tmp_path / f"y{suffix}") as image:
            assert image.info["icc_profile"] == NOISE


def test_iptc_extended_xmp_and_unknown_segments_are_kept_in_jpeg_files(tmp_path: Path) -> None:
    segments = _segment(0xED, b"Photoshop 3.0\0" + RESOURCES) + _segment(0xE1, EXTENDED) + _segment(0xE5, b"vendor")
    source = _jpeg(tmp_path / "x.jpg", segments)
    assert rewrite(source, tmp_path / "y.jpg") == []
    assert {b"Photoshop 3.0\0" + RESOURCES, EXTENDED, b"vendor"} <= set(_segments(tmp_path / "y.jpg"))
    assert rewrite(source, tmp_path / "y.tif") == ["extended XMP", "APP5 data"]
    assert tifffile.TiffFile(tmp_path / "y.tif").pages[0].tags[34377].value == RESOURCES
    assert rewrite(source, tmp_path / "y.png") == ["IPTC and Photoshop data", "extended XMP", "APP5 data"]
    assert rewrite(tmp_path / "y.tif", tmp_path / "z.jpg") == []
    assert b"Photoshop 3.0\0" + RESOURCES in _segments(tmp_path / "z.jpg")


@pytest.mark.parametrize(
    ("segments", "tail", "lost"),
    [
        (b"", b"\0\0\0\x18ftypmp42" + NOISE[:5000], "data after the image, such as the video of a motion photo"),
        (_segment(0xEB, b"JP\0\1\0\0\0\1\0\0\0\x20jumb") * 2, b"", "content credentials (C2PA)"),
    ],
)
def test_what_no_restored_file_can_hold_is_named_once(tmp_path: Path, segments: bytes, tail: bytes, lost: str) -> None:
    assert rewrite(_jpeg(tmp_path / "x.jpg", segments, tail), tmp_path / "y.jpg") == [lost]
    assert rewrite(tmp_path / "y.jpg", tmp_path / "z.jpg") == []


def test_bytes_that_fill_up_a_file_are_not_missed(tmp_path: Path) -> None:
    assert rewrite(_jpeg(tmp_path / "x.jpg", tail=bytes(1000)), tmp_path / "y.jpg") == []


@pytest.mark.parametrize("attribute", ["exif", "xmp"])
def test_what_is_larger_than_a_segment_is_named(tmp_path: Path, attribute: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "m" * 70_000
    content = {"exif": exif.tobytes(), "xmp": b"<x:xmpmeta>" + b" " * 70_000 + b"</x:xmpmeta>"}[attribute]
    sources.save(tmp_path / "x.webp", **{attribute: content})
    assert rewrite(tmp_path / "x.webp", tmp_path / "y.jpg") == [attribute.upper()]
    assert rewrite(tmp_path / "x.webp", tmp_path / "y.webp") == []
    with Image.open(tmp_path / "y.webp") as image:
        assert image.info[attribute].removeprefix(b"Exif\0\0") == content.removeprefix(b"Exif\0\0")


def test_chunks_after_the_pixels_of_a_png_file_are_found(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    sources.save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    late = sources.chunk(b"eXIf", exif.tobytes()[6:]) + sources.chunk(b"tEXt", b"a\0b")
    (tmp_path / "x.png").write_bytes(content[:-12] + late + content[-12:])
    sources.insert(tmp_path / "x.png", sources.chunk(b"bKGD", bytes(6)) + sources.chunk(b"prVt", b"1"))
    assert rewrite(tmp_path / "x.png", tmp_path / "y.png") == ["background colour"]
    with Image.open(tmp_path / "y.png") as image:
        assert isinstance(image, PngImagePlugin.PngImageFile)
        assert (image.getexif()[0x010F], image.text) == ("a camera", {"a": "b"})
        assert image.private_chunks == [(b"prVt", b"1")]


@pytest.mark.parametrize(("unit", "density"), [(1, 300), (2, 100), (2, 118)])
def test_jpeg_resolutions_are_kept(tmp_path: Path, unit: int, density: int) -> None:
    sources.save(tmp_path / "x.jpg")
    content = bytearray((tmp_path / "x.jpg").read_bytes())
    content[13:18] = struct.pack(">BHH", unit, density, 2 * density)
    (tmp_path / "x.jpg").write_bytes(content)
    rewrite(tmp_path / "x.jpg", tmp_path / "y.jpg")
    with Image.open(tmp_path / "x.jpg") as before, Image.open(tmp_path / "y.jpg") as after:
        assert after.info["dpi"] == pytest.approx(before.info["dpi"], rel=0.002)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_the_orientation_is_reset_in_both_byte_orders(order: str) -> None:
    number = {"II": "<", "MM": ">"}[order]
    entries = struct.pack(number + "HHI", 0x010F, 2, 4) + b"abc\0" + struct.pack(number + "HHIHH", 0x0112, 3, 1, 6, 0)
    exif = order.encode() + struct.pack(number + "HIH", 42, 8, 2) + entries + bytes(4)
    found = Image.Exif()
    found.load(upright(exif))
    assert dict(found) == {0x010F: "abc", 0x0112: 1}
    assert upright(exif[:20]) == exif[:20]


def test_grey_and_transparent_images_keep_their_profile_in_every_format(tmp_path: Path) -> None:
    grey = sources.RGB[..., 0]
    content = io.BytesIO()
    Image.fromarray(np.dstack([grey, sources.ALPHA]), "LA").save(content, "PNG", icc_profile=sources.PROFILE)
    (tmp_path / "x.png").write_bytes(content.getvalue())
    for suffix in (".png", ".tif", ".webp"):
        assert rewrite(tmp_path / "x.png", tmp_path / f"y{suffix}") == []
        with Image.open(tmp_path / f"y{suffix}") as image:
            assert image.info["icc_profile"] == sources.PROFILE
            assert np.array_equal(np.asarray(image.getchannel("A")), sources.ALPHA)


@pytest.mark.parametrize("suffix", [".bmp", ".webp"])
def test_profiles_for_grey_are_refused_by_formats_that_store_colours(tmp_path: Path, suffix: str) -> None:
    profile = sources.PROFILE[:16] + b"GRAY" + sources.PROFILE[20:]
    sources.save(tmp_path / "x.png", sources.RGB[..., 0], icc_profile=profile)
    with pytest.raises(UserError, match=f"x.png has a profile for grey, y{suffix} stores colours"):
        rewrite(tmp_path / "x.png", tmp_path / f"y{suffix}")
    assert rewrite(tmp_path / "x.png", tmp_path / "y.jpg") == []
    with Image.open(tmp_path / "y.jpg") as image:
        assert (image.mode, image.info["icc_profile"]) == ("L", profile)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".avif"])
def test_exif_that_no_program_can_read_is_named(tmp_path: Path, suffix: str) -> None:
    sources.with_exif(tmp_path / f"x{suffix}")
    content = (tmp_path / f"x{suffix}").read_bytes()
    assert content.count(b"MM\0*") == 1
    content = content.replace(b"MM\0*", b"MX\0*")
    if suffix == ".png":  # whose chunks have checksums
        start = content.index(b"eXIf") - 4
        size = int.from_bytes(content[start : start + 4], "big")
        content = (
            content[:start]
            + sources.chunk(b"eXIf", content[start + 8 : start + 8 + size])
            + content[start + 12 + size :]
        )
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert rewrite(tmp_path / f"x{suffix}", tmp_path / f"y{suffix}") == ["damaged EXIF"]
    with Image.open(tmp_path / f"y{suffix}") as image:
        assert "exif" not in image.info


def test_avif_of_10_bits_keeps_xmp_and_profile_and_names_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x4746] = sources.RATING
    content = (sources.RGB.astype(np.uint16) * 257).tobytes()
    image = pyvips.Image.new_from_memory(content, 64, 48, 3, "ushort").copy(interpretation="rgb16")
    fields = {"exif-data": exif.tobytes(), "xmp-data": sources.XMP, "icc-profile-data": sources.PROFILE}
    for name, value in fields.items():
        image.set_type(pyvips.GValue.blob_type, name, value)
    image.heifsave(str(tmp_path / "x.avif"), compression="av1", bitdepth=10)
    assert rewrite(tmp_path / "x.avif", tmp_path / "y.avif") == ["EXIF"]
    with Image.open(tmp_path / "y.avif") as found:
        assert (found.info["xmp"], found.info["icc_profile"]) == (sources.XMP, sources.PROFILE)
        assert "exif" not in found.info


def test_a_heic_file_without_an_image_is_refused(tmp_path: Path) -> None:
    sources.save(tmp_path / "x.heic")
    content = (tmp_path / "x.heic").read_bytes()
    (tmp_path / "x.heic").write_bytes(content.replace(b"iinf", b"free").replace(b"iloc", b"free"))
    with pytest.raises(UserError, match="x.heic is damaged or truncated"):
        open_image(tmp_path / "x.heic")


@pytest.mark.parametrize("damaged", [sources.chunk(b"tEXt", b"a\0b")[:-1] + b"?", sources.chunk(b"gAMA", b"")])
def test_damaged_chunks_are_named_and_not_repaired(tmp_path: Path, damaged: bytes) -> None:
    sources.save(tmp_path / "x.png")
    tags = sources.chunk(b"gAMA", (50_000).to_bytes(4, "big")) + sources.chunk(b"gAMA", (60_000).to_bytes(4, "big"))
    sources.insert(tmp_path / "x.png", damaged + tags)
    assert rewrite(tmp_path / "x.png", tmp_path / "y.png") == ["a damaged chunk"]
    with Image.open(tmp_path / "y.png") as image:
        assert image.info == {"gamma": 0.5}


def test_chunks_of_png_files_are_kept_or_named(tmp_path: Path) -> None:
    kept = {b"tIME": struct.pack(">H5B", 2020, 1, 2, 3, 4, 5), b"sTER": b"\1", b"oFFs": struct.pack(">iiB", 1, 2, 0)}
    named = {b"hIST": bytes(2), b"sPLT": b"a\0\x08", b"pCAL": b"b", b"prVT": b"c"}
    sources.save(tmp_path / "x.png")
    sources.insert(tmp_path / "x.png", b"".join(sources.chunk(*item) for item in {**kept, **named}.items()))
    assert rewrite(tmp_path / "x.png", tmp_path / "y.png") == [
        "palette histogram",
        "suggested palette",
        "chunk pCAL",
        "chunk prVT",
    ]
    found = dict(sources.read_chunks((tmp_path / "y.png").read_bytes()))
    assert {kind: found.get(kind) for kind in (*kept, *named)} == kept | dict.fromkeys(named)
    image = open_image(tmp_path / "y.png")
    assert LargeImageWriter(tmp_path / "z.png", image, width_factor=2).not_kept == ["stereo layout"]
    assert LargeImageWriter(tmp_path / "z.webp", image).not_kept == ["modification time", "stereo layout", "chunk oFFs"]


def test_the_aspect_ratio_of_pixels_is_kept_in_jpeg_files(tmp_path: Path) -> None:
    sources.save(tmp_path / "x.jpg")
    content = bytearray((tmp_path / "x.jpg").read_bytes())
    content[13:18] = struct.pack(">BHH", 0, 2, 1)
    (tmp_path / "x.jpg").write_bytes(content)
    assert rewrite(tmp_path / "x.jpg", tmp_path / "y.jpg") == []
    with Image.open(tmp_path / "y.jpg") as image:
        assert (image.info["jfif_unit"], image.info["jfif_density"]) == (0, (2, 1))
    assert rewrite(tmp_path / "x.jpg", tmp_path / "y.png") == ["pixel aspect ratio"]
