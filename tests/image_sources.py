"""Image files with one property each, written with Pillow, tifffile and pillow-heif or byte by byte."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pyvips
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from deblurlab.media.large_image_writer import LargeImageWriter
from deblurlab.media.large_images import open_image

RNG = np.random.default_rng(0)
RGB = np.kron(RNG.integers(30, 220, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
RGB16 = RGB.astype(np.uint16) * 257
ALPHA = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"/></x:xmpmeta>'
MAKER, RATING, DATE, LATITUDE = "Maker", 4, "2020:01:02 03:04:05", (48.0, 8.0, 30.0)


def rewrite(source: Path, target: Path) -> list[str]:
    """Write an image again; return the names of what is lost."""
    image = open_image(source)
    with LargeImageWriter(target, image) as writer:
        writer.write(image.read(image.height))
        writer.finish()
    return writer.not_kept


def save(path: Path, pixels: np.ndarray = RGB, **options: Any) -> None:
    """Write pixels with Pillow, or HEIC with pillow-heif."""
    if path.suffix == ".heic":
        pillow_heif.from_pillow(Image.fromarray(pixels)).save(path, quality=95, **options)
    else:
        lossy = {"quality": 95} if path.suffix in (".jpg", ".webp", ".avif") else {}
        Image.fromarray(pixels).save(path, **lossy, **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return type and content of the chunks of a PNG file."""
    position, found = 8, []
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        found.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + length]))
        position += 12 + length
    return found


def bmp(path: Path, pixels: np.ndarray, profile: bytes = b"") -> None:
    """Write a BMP file with a header of version 5, which may hold a profile, or 4; alpha has a mask."""
    height, width, bands = pixels.shape
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000) if bands == 4 else (0, 0, 0, 0)
    values = (
        124 if profile else 108,
        width,
        height,
        1,
        8 * bands,
        3 if bands == 4 else 0,
        pixels.size,
        2835,
        2835,
        0,
        0,
    )
    header = struct.pack("<IiiHHIIiiII4I", *values, *masks)
    header += struct.pack("<I48s", 0x4D424544 if profile else 0x73524742, b"")
    header += struct.pack("<4I", 4, 124 + pixels.size, len(profile), 0) if profile else b""
    body = header + pixels[::-1, :, [2, 1, 0, 3][:bands]].tobytes() + profile
    path.write_bytes(struct.pack("<2sIII", b"BM", 14 + len(body), 0, 14 + len(header)) + body)


def deep(path: Path) -> None:
    """Write 16 bits per channel, or the 10 of AVIF and HEIC."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, RGB16, photometric="rgb")
    elif path.suffix == ".png":
        rows = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in RGB16))
        header = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    elif path.suffix == ".heic":
        pillow_heif.from_bytes("RGB;16", (64, 48), RGB16.tobytes()).save(path, quality=95)
    else:
        image = pyvips.Image.new_from_memory(RGB16.tobytes(), 64, 48, 3, "ushort").copy(interpretation="rgb16")
        image.heifsave(str(path), compression="av1", bitdepth=10, Q=95, keep="none")


def transparent(path: Path) -> None:
    """Write RGBA."""
    rgba = np.dstack([RGB, ALPHA])
    bmp(path, rgba) if path.suffix == ".bmp" else save(path, rgba)


def grey(path: Path) -> None:
    """Write grey; AVIF and HEIC files have no chroma then."""
    save(path, RGB[..., 0])


def grey_transparent(path: Path) -> None:
    """Write grey with transparency."""
    pixels = np.dstack([RGB[..., 0], ALPHA])
    if path.suffix == ".heic":
        pillow_heif.from_bytes("LA", (64, 48), pixels.tobytes()).save(path, quality=95)
    else:
        save(path, pixels, **({"subsampling": "4:0:0"} if path.suffix == ".avif" else {}))


def palette(path: Path) -> None:
    """Write a palette of which some colours are transparent."""
    indices = Image.fromarray(RGB).quantize(48)
    indices.save(path, transparency=bytes(range(0, 240, 5)))


def with_profile(path: Path, profile: bytes = PROFILE) -> None:
    """Write an ICC profile."""
    bmp(path, RGB, profile) if path.suffix == ".bmp" else save(path, icc_profile=profile)


def with_exif(path: Path, orientation: int = 1) -> None:
    """Write EXIF with tags of the three directories; Rating isn't in the EXIF standard."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x4746] = orientation, MAKER, RATING
    exif[0x8769] = {0x9003: DATE}
    exif[0x8825] = {1: "N", 2: LATITUDE}
    save(path, exif=exif.tobytes())


def turned(path: Path) -> None:
    """Write pixels that EXIF says to turn by a quarter."""
    with_exif(path, 6)


def with_xmp(path: Path) -> None:
    """Write XMP; in PNG it is compressed."""
    if path.suffix == ".tif":
        tags = [(700, 1, len(XMP), XMP, True)]
        tifffile.imwrite(path, RGB, photometric="rgb", metadata=None, extratags=tags)
    elif path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
        save(path, pnginfo=info)
    else:
        save(path, xmp=XMP)


def hdr(path: Path) -> None:
    """Write a file whose colours are PQ or HLG: tagged in PNG, AVIF and HEIC, in others by the profile."""
    if path.suffix == ".png":
        save(path)
        insert(path, chunk(b"cICP", bytes([9, 16, 0, 1])))
    elif path.suffix == ".heic":
        save(path, color_primaries=9, transfer_characteristics=16, matrix_coefficients=9, full_range_flag=1)
    elif path.suffix == ".avif":
        save(path)
        content = path.read_bytes()
        at = content.index(b"colrnclx") + 8
        path.write_bytes(content[:at] + struct.pack(">HHH", 9, 18, 9) + content[at + 6 :])
    else:
        tag = b"cicp\0\0\0\0" + bytes([9, 18, 0, 1])
        start = struct.pack(">I4sI12s104x", 144 + len(tag), b"lcms", 0x04400000, b"mntrRGB XYZ ")
        with_profile(path, start + struct.pack(">I4sII", 1, b"cicp", 144, len(tag)) + tag)


def insert(path: Path, chunks: bytes) -> None:
    """Put chunks after the header of a PNG file."""
    content = path.read_bytes()
    path.write_bytes(content[:33] + chunks + content[33:])


def colour_tags(path: Path) -> None:
    """Write the primaries of Display P3 and a gamma of 1.8 in PNG's chunks."""
    save(path)
    p3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    tags = {b"gAMA": struct.pack(">I", 55555), b"cHRM": p3, b"cICP": bytes([12, 13, 0, 1])}
    insert(path, b"".join(chunk(kind, value) for kind, value in tags.items()))


def animated(path: Path) -> None:
    """Write two frames or pages."""
    second = Image.fromarray(255 - RGB)
    if path.suffix == ".heic":
        file = pillow_heif.from_pillow(Image.fromarray(RGB))
        file.add_from_pillow(second)
        file.save(path)
    else:
        save(path, save_all=True, append_images=[second])


def with_resolution(path: Path) -> None:
    """Write 300 x 200 pixels per inch."""
    save(path, dpi=(300, 200))


def without_resolution(path: Path) -> None:
    """Write no resolution; Pillow gives BMP files one."""
    save(path)
    if path.suffix == ".bmp":
        content = path.read_bytes()
        path.write_bytes(content[:38] + bytes(8) + content[46:])


def with_text(path: Path) -> None:
    """Write a comment or other texts."""
    if path.suffix == ".jpg":
        save(path, comment="taken by hand")
    elif path.suffix == ".tif":
        tifffile.imwrite(path, RGB, photometric="rgb", metadata=None, description="taken by hand", datetime=DATE)
    else:
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", "taken by hand")
        info.add_itxt("Titel", "Grün", lang="de")
        info.add_text("long", "x" * 500, zip=True)
        save(path, pnginfo=info)


def gain_map(path: Path) -> None:
    """Write a second image that its XMP calls a gain map."""
    second_image(path, b'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0"')


def second_image(path: Path, attribute: bytes = b"") -> None:
    """Write a multi-picture file with Pillow, whose second image has XMP with an attribute."""
    small = Image.fromarray(RGB[::2, ::2])
    small.encoderinfo = {"xmp": b"<x:xmpmeta " + attribute + b"/>"}
    content = io.BytesIO()
    Image.fromarray(RGB).save(content, "MPO", quality=95, save_all=True, append_images=[small])
    path.write_bytes(content.getvalue())


def infrared(path: Path) -> None:
    """Write a fourth band that is not transparency."""
    tifffile.imwrite(path, np.dstack([RGB, ALPHA]), photometric="rgb", extrasamples=["unspecified"])


def premultiplied(path: Path) -> None:
    """Write colours that are multiplied by their transparency."""
    colours = (RGB.astype(int) * ALPHA[..., None] // 255).astype(np.uint8)
    tifffile.imwrite(path, np.dstack([colours, ALPHA]), photometric="rgb", extrasamples=["assocalpha"])
