"""`deblurlab.Restorer`: image types, lists, tiles, threads and invalid arguments."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageOps

import deblurlab
from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from support import small_release

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 56, 3), np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def restorer(tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    return deblurlab.Restorer.load(small_release(tmp_path_factory.mktemp("release") / "small"), device="cpu")


@pytest.fixture(scope="module")
def expected(restorer: Restorer) -> np.ndarray:
    """Return the output of the network without `Restorer`."""
    with torch.inference_mode():
        restored = restorer.engine(torch.from_numpy(IMAGE).permute(2, 0, 1)[None] / 255)[0]
    assert (restored * 255 - torch.from_numpy(IMAGE).permute(2, 0, 1)).abs().mean() > 1
    return restored.clamp(0, 1).permute(1, 2, 0).numpy()


def _levels(image: np.ndarray, scale: int = 255) -> np.ndarray:
    return np.rint(image * scale)


def test_the_result_has_the_type_of_the_image(restorer: Restorer, expected: np.ndarray, tmp_path: Path) -> None:
    assert np.array_equal(restorer.restore(IMAGE), _levels(expected))
    sixteen = restorer.restore(IMAGE.astype(np.uint16) * 257)
    assert sixteen.dtype == np.uint16
    assert np.abs(sixteen - _levels(expected, 65535)).max() <= 1
    floats = restorer.restore((IMAGE / 255).astype(np.float32))
    assert np.allclose(floats, expected, atol=1e-6)
    tensor = restorer.restore(torch.from_numpy(IMAGE).permute(2, 0, 1) / 255)
    assert tensor.shape == (3, 40, 56)
    assert np.allclose(tensor.clamp(0, 1).permute(1, 2, 0), expected, atol=1e-6)
    pil = restorer.restore(Image.fromarray(IMAGE))
    assert isinstance(pil, Image.Image)
    assert np.array_equal(pil, _levels(expected))
    Image.fromarray(IMAGE).save(tmp_path / "x.png")
    assert np.array_equal(restorer.restore(tmp_path / "x.png"), _levels(expected))
    assert np.array_equal(restorer.restore(str(tmp_path / "x.png")), _levels(expected))


def test_grey_and_transparency_are_kept(restorer: Restorer) -> None:
    grey = restorer.restore(IMAGE[..., 0])
    assert grey.shape == (40, 56)
    assert np.array_equal(restorer.restore(Image.fromarray(IMAGE[..., 0])), grey)
    rgba = restorer.restore(np.dstack([IMAGE, IMAGE[..., 1]]))
    assert np.array_equal(rgba[..., 3], IMAGE[..., 1])
    assert np.array_equal(rgba[..., :3], restorer.restore(IMAGE))
    assert restorer.restore(Image.fromarray(rgba)).mode == "RGBA"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_files_and_pil_images_are_turned_upright(
    restorer: Restorer, tmp_path: Path, orientation: int, suffix: str
) -> None:
    """Pillow turns the expected image."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a camera"
    Image.fromarray(IMAGE).save(tmp_path / f"x.{suffix}", exif=exif.tobytes(), icc_profile=PROFILE)
    with Image.open(tmp_path / f"x.{suffix}") as opened:
        turned = ImageOps.exif_transpose(opened)
        restored = restorer.restore(opened)
    expected = restorer.restore(np.asarray(turned))
    assert expected.shape == ((40, 56, 3) if orientation < 5 else (56, 40, 3))
    found = restorer.restore(tmp_path / f"x.{suffix}")
    assert np.abs(found.astype(int) - expected).max() <= (2 if suffix in ("jpg", "webp") else 0)  # another decoder
    assert np.array_equal(restored, expected)
    assert restored.info["icc_profile"] == PROFILE
    assert restored.getexif().get(0x0112, 1) == 1
    if suffix != "tif":  # where Pillow has EXIF in the tags of the opened file only
        assert restored.getexif()[0x010F] == "a camera"


def test_a_transparent_colour_becomes_an_alpha_channel(restorer: Restorer, tmp_path: Path) -> None:
    pixels = IMAGE.copy()
    pixels[5, 7] = 1, 2, 3
    Image.fromarray(pixels).save(tmp_path / "x.png", transparency=(1, 2, 3))
    alpha = np.full((40, 56), 255)
    alpha[5, 7] = 0
    with Image.open(tmp_path / "x.png") as opened:
        restored = restorer.restore(opened)
    assert "transparency" not in restored.info
    for found in (np.asarray(restored), restorer.restore(tmp_path / "x.png")):
        assert np.array_equal(found[..., 3], alpha)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE.astype(np.float32), r"an array \(40, 56, 3\) of float32 has values from 0 to 255, .*: divide it by 255"),
        (
            torch.rand(3, 9, 9) * 4 - 2,
            r"a tensor \(3, 9, 9\) has values from -.* must be in \[0, 1\]: scale or clip it",
        ),
        (np.full((9, 9), np.nan), r"an array \(9, 9\) of float64 has values that aren't finite: replace them"),
    ],
)
def test_floats_out_of_range_are_refused(restorer: Restorer, image: object, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        restorer.restore(image)
    assert "\n" not in str(refused.value)


def test_rounding_errors_are_no_reason_to_refuse_floats(restorer: Restorer) -> None:
    image = np.clip(IMAGE / 255 * 1.0002 - 0.0001, -0.0001, 1.0001)
    assert image.min() < 0
    assert image.max() > 1
    assert restorer.restore(image).max() <= 1


def test_lists_and_batches_equal_single_images(restorer: Restorer, expected: np.ndarray) -> None:
    other = IMAGE[:24, :30]
    restored = restorer.restore([IMAGE, Image.fromarray(other), IMAGE])
    assert np.array_equal(restored[0], _levels(expected))
    assert np.array_equal(restored[2], restored[0])
    assert np.array_equal(restored[1], restorer.restore(other))
    assert np.array_equal(restorer.restore(np.stack([IMAGE, IMAGE]))[1], restored[0])


def test_a_restorer_is_thread_safe(restorer: Restorer) -> None:
    images = [RNG.integers(0, 256, (30 + i, 40, 3), np.uint8) for i in range(12)]
    alone = [restorer.restore(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(restorer.restore, images))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_tiles_equal_the_whole_image(restorer: Restorer) -> None:
    image = RNG.integers(0, 256, (300, 400, 3), np.uint8)
    tiled = Restorer(restorer.engine, tile=64)
    assert tiled.tiling(300, 400).exact
    assert np.array_equal(tiled.restore(image), restorer.restore(image))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (7, "int is not an image"),
        (np.zeros((5, 5, 5), np.uint8), "has 5 channels"),
        (np.zeros((5, 5, 3), np.int64), "int64 is not an image"),
        (torch.zeros(1, 5, 5), "is not an image"),
        (np.zeros((5, 5, 3), np.uint32), "uint32 is not an image"),
        (np.zeros((0, 5, 3), np.uint8), "is not an image"),
        (Image.new("CMYK", (5, 5)), "mode CMYK"),
        ("/nowhere.png", "doesn't exist"),
    ],
)
def test_unsupported_images_are_refused(restorer: Restorer, image: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        restorer.restore(image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "nothing"}, "there are no weights nothing: .* fidelity"),
        ({"device": "cuda:77"}, "device=cuda:77 can't be used"),
        ({"engine": "onnxruntime"}, "needs an ONNX file"),
        ({"strength": 2}, "strength must be between"),
        ({"tile": -1}, "tile must be"),
    ],
)
def test_invalid_arguments_of_load_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        deblurlab.Restorer.load(**arguments)  # type: ignore[arg-type]


def test_the_bundled_model_is_small_and_keeps_flat_images() -> None:
    bundled = deblurlab.Restorer.load(device="cpu")
    assert bundled.engine.cost()["parameters"] < 5_000_000
    assert bundled.engine.receptive_radius is not None
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert np.abs(bundled.restore(flat).astype(int) - 128).max() <= 3
