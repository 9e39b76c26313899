"""Precision of networks: bfloat16 where the processor has it and the results are close, otherwise float32."""

import logging
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor, nn

from deblurlab.errors import UserError
from deblurlab.inference import precision
from deblurlab.inference.engines import Engine, Ensemble, Torch
from deblurlab.inference.precision import choose_precision, probe_image
from deblurlab.inference.predictor import Restorer
from deblurlab.media.pixels import InMemory
from support import small_release

CPU = torch.device("cpu")
PHOTOGRAPH = np.ascontiguousarray(skimage.data.chelsea()[100:164, 150:246])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("release") / "small")


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processor have bf16 instructions; without them, PyTorch computes the same results slowly."""
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)


class Scale(nn.Module):
    """Multiplies by a weight in a convolution; the product is rounded to bfloat16 under autocast."""

    def __init__(self, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.layer = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x) / 16 if self.residual else self.layer(x)


class Fails(nn.Module):
    """Accepts float32 features only."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("no kernel for BFloat16. Details follow")
        return x


def _images(dtype: type) -> np.ndarray:
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    return (PHOTOGRAPH.astype(float) * scale).astype(dtype)


def test_bf16_rounds_the_output_of_a_convolution_to_8_bits_of_mantissa() -> None:
    image = torch.rand(1, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    engine = Torch(Scale(residual=False), CPU, precision="bf16")
    assert torch.equal(engine(image), image.bfloat16().float())
    assert torch.equal(Torch(Scale(residual=False), CPU)(image), image)
    kept = Torch(Scale(residual=True), CPU, precision="bf16")(image)  # the sum with the image is float32
    assert torch.equal(kept, image + (image.bfloat16() / 16))


def test_bf16_is_close_to_float32(weights: Path) -> None:
    exact, close = (Restorer.load(weights, device="cpu", precision=name) for name in ("fp32", "bf16"))
    image = torch.from_numpy(PHOTOGRAPH).permute(2, 0, 1)[None] / 255
    difference = 255 * (exact.batch(image) - close.batch(image)).abs()
    assert 0 < difference.mean() < 0.5
    assert difference.max() < 4
    rounded = [restorer.restore(PHOTOGRAPH).astype(int) for restorer in (exact, close)]
    assert 0 < np.abs(rounded[0] - rounded[1]).mean() < 0.5


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize(("dtype", "bf16"), [(np.uint8, True), (np.uint16, False), (np.float32, False)])
def test_auto_uses_bf16_for_8_bits_only(weights: Path, dtype: type, bf16: bool, ensemble: bool) -> None:
    """Images of more bits and floats are restored bit for bit as with fp32."""
    found, exact, close = (
        Restorer.load(weights, device="cpu", precision=name, ensemble=ensemble) for name in ("auto", "fp32", "bf16")
    )
    assert found.engine.precision.startswith("bf16 for images of 8 bits (0.")
    image = _images(dtype)
    assert not np.array_equal(exact.restore(image), close.restore(image))
    assert np.array_equal(found.restore(image), (close if bf16 else exact).restore(image))
    rows, expected = ([row for _, row in one.rows(InMemory(image))] for one in (found, close if bf16 else exact))
    assert np.array_equal(np.concatenate(rows), np.concatenate(expected))
    tiled = Restorer.load(weights, device="cpu", ensemble=ensemble, tile=32, overlap=8)
    reference = Restorer.load(
        weights, device="cpu", precision="bf16" if bf16 else "fp32", ensemble=ensemble, tile=32, overlap=8
    )
    assert np.array_equal(tiled.restore(image), reference.restore(image))


@pytest.mark.usefixtures("native")
def test_a_list_of_images_of_different_depth_has_the_precision_of_each(weights: Path) -> None:
    restorer = Restorer.load(weights, device="cpu")
    images = [_images(np.uint8), _images(np.uint16), _images(np.float32)]
    for found, image in zip(restorer.restore(images), images, strict=True):
        assert np.array_equal(found, restorer.restore(image))


def test_auto_is_float32_without_bf16_instructions(weights: Path) -> None:
    restorer = Restorer.load(weights, device="cpu")
    assert restorer.engine.precision == "fp32: cpu has no bf16 instructions"
    exact = Restorer.load(weights, device="cpu", precision="fp32")
    assert exact.engine.precision == "fp32"
    assert np.array_equal(restorer.restore(PHOTOGRAPH), exact.restore(PHOTOGRAPH))
    assert restorer.settings == exact.settings


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize(
    ("error", "bf16", "reason"),
    [
        (
            0.49,
            True,
            "bf16 for images of 8 bits (0.49 levels of 255 from fp32 on average, on a test image), fp32 for o",
        ),
        (0.51, False, "fp32: bf16 would be 0.51 levels of 255 from fp32 on average"),
        (float("nan"), False, "fp32: bf16 would be nan levels"),
    ],
)
def test_auto_is_bf16_below_half_a_level(error: float, bf16: bool, reason: str) -> None:
    choice = choose_precision("auto", CPU, lambda image, rounded: image / 2 + rounded * error / 255)
    assert (choice.bf16, choice.bf16_above_8_bits) == (bf16, False)
    assert choice.reason.startswith(reason)


@pytest.mark.usefixtures("native")
def test_networks_that_cannot_run_in_bf16() -> None:
    engine = Torch(Fails(), CPU, precision="auto")
    assert engine.precision == "fp32: bf16 fails on a test image of 256x256 pixels (no kernel for BFloat16)"
    assert engine(torch.ones(1, 3, 4, 4)).sum() == 48
    message = r"^bf16 fails on a test image of 256x256 pixels \(no kernel for BFloat16\): use precision fp32$"
    with pytest.raises(UserError, match=message):
        Torch(Fails(), CPU, precision="bf16")


def test_bf16_without_instructions_is_a_warning(weights: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        restorer = Restorer.load(weights, device="cpu", precision="bf16")
    (record,) = caplog.records
    assert record.message == "cpu has no bf16 instructions: bf16 takes several times as long as fp32"
    assert restorer.engine.precision.startswith("bf16 (0.")


def test_settings_of_another_precision_differ(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    settings = {
        Restorer.load(weights, device="cpu", precision=name, ensemble=ensemble).settings
        for name in ("auto", "fp32", "bf16")
        for ensemble in (False, True)
    }
    assert len(settings) == 6


def test_unknown_precisions_and_those_of_onnx_files_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^precision=half is unknown: choose auto, fp32, bf16$"):
        Restorer.load(weights, device="cpu", precision="half")
    (tmp_path / "x.onnx").touch()
    for name in ("fp32", "bf16"):
        message = rf"^precision={name} can't be chosen for .*x\.onnx: an ONNX file has its own precision$"
        with pytest.raises(UserError, match=message):
            Restorer.load(tmp_path / "x.onnx", precision=name)
    assert Engine().precision == ""
    assert Engine().for_images(np.uint8).precision == ""


@pytest.mark.parametrize("precision_name", ["auto", "bf16"])
def test_the_receptive_radius_does_not_depend_on_the_precision(
    weights: Path, precision_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    found, exact = (Restorer.load(weights, device="cpu", precision=name) for name in (precision_name, "fp32"))
    assert found.engine.receptive_radius == exact.engine.receptive_radius


def test_the_ensemble_averages_bf16_results() -> None:
    engine = Torch(Scale(residual=False), CPU, precision="bf16")
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(Ensemble(engine)(image), image.bfloat16().float(), atol=1e-6)


def test_the_probe_is_a_blurred_photograph_of_8_bits() -> None:
    """SciPy blurs the photograph."""
    image = probe_image()
    assert image.shape == (1, 3, 256, 256)
    expected = uniform_filter1d(skimage.data.astronaut().astype(float), 9, axis=1)[:256, 100:356]
    assert np.array_equal(255 * image[0].permute(1, 2, 0).numpy(), np.rint(expected))
