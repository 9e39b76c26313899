"""`deblurlab.Restorer`: image types, lists, tiles, threads and invalid arguments."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import deblurlab
from deblurlab.errors import UserError
from deblurlab.inference.predictor import Restorer
from support import small_release

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (40, 56, 3), np.uint8)


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
