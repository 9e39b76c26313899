"""Metrics of a protocol: masks, luma, and how values of several images are treated."""

from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deblurlab.config import instantiate
from deblurlab.errors import UserError
from deblurlab.metrics import PSNR, PSNRY, SSIMY, Measurement, MetricInfo, Protocol, SSIMMatlabRGB, sharpness
from deblurlab.metrics.levels import levels
from deblurlab.metrics.psnr import psnr_of_levels
from deblurlab.metrics.ssim import ssim_matlab_rgb
from support import config, option_names

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A noisy and a clean photograph, in levels."""
    photo = skimage.data.chelsea()[:90, :70].astype(np.float64)
    return np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255).round(), photo


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def _measurement(metric: str, **protocol: Any) -> Measurement:
    return Measurement(config(f"metric={metric}").metric, Protocol(**protocol))


def test_psnr_of_masked_images_by_hand() -> None:
    restored, mask = torch.zeros(2, 3, 2, 3, dtype=torch.float64), torch.zeros(2, 1, 2, 3, dtype=torch.float64)
    restored[:, :, 0, 0], restored[:, :, 1, 2] = 10, 255
    mask[0, 0, 0, :2] = 1  # errors 10 and 0
    mask[1, 0, 1, 2] = 1  # error 255
    values = psnr_of_levels(restored, torch.zeros_like(restored), mask)
    assert values.tolist() == pytest.approx([10 * np.log10(255**2 / 50), 0])


def test_metrics_of_luma_equal_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    restored, sharp = (16 + image @ np.array([65.481, 128.553, 24.966]) / 255 for image in pair)
    images = [_tensor(image) / 255 for image in pair]
    found = _measurement("psnr_y+ssim_y").measure(images[0][0], [images[1][0]])
    assert found == {
        "psnr_y": pytest.approx(peak_signal_noise_ratio(sharp, restored, data_range=255)),
        "ssim_y": pytest.approx(structural_similarity(sharp, restored, **GAUSSIAN)),
    }
    assert SSIMMatlabRGB()(*images).item() == pytest.approx(ssim_matlab_rgb(*map(_tensor, pair)).item())
    mask = torch.ones(1, 1, 90, 70, dtype=torch.float64)
    mask[..., :40] = 0
    part = peak_signal_noise_ratio(sharp[:, 40:], restored[:, 40:], data_range=255)
    assert PSNRY()(*images, mask).item() == pytest.approx(part)
    _, values = structural_similarity(sharp, restored, full=True, **GAUSSIAN)
    assert SSIMY()(*images, mask).item() == pytest.approx(values[5:-5, 40:-5].mean())


def test_metrics_without_references() -> None:
    image = torch.rand(3, 16, 16)
    found = _measurement("psnr+sharpness").measure(image, [])
    assert found == {"sharpness": sharpness(levels(image[None])).item()}


def test_any_exception_of_a_metric_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: PSNR) -> torch.Tensor:
        raise KeyError("state")

    monkeypatch.setattr(PSNR, "compute", fail)
    with pytest.raises(ValueError, match="psnr: KeyError: 'state'"):
        _measurement("psnr").measure(torch.rand(3, 16, 16), [torch.rand(3, 16, 16)])


def test_a_metric_that_is_nan_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PSNR, "compute", lambda self: torch.tensor(float("nan")))
    with pytest.raises(ValueError, match="metric.psnr is not a number for this image"):
        _measurement("psnr").measure(torch.rand(3, 16, 16), [torch.rand(3, 16, 16)])


@pytest.mark.parametrize(
    ("quantise", "words"),
    [("round", "rounded to 8 bits"), ("truncate", "truncated to 8 bits"), ("none", "not made 8-bit")],
)
def test_the_description_names_every_setting(quantise: str, words: str) -> None:
    description = _measurement(
        "psnr_y+ssim_y", quantise=quantise, border=3, align=True, note="as published"
    ).describe()["protocol"]
    assert description.keys() == {"range", "border", "mean", "aligned", "note", "psnr_y", "ssim_y"}
    assert description["range"].startswith(f"clamped to [0, 1], {words}")
    assert (description["border"], description["note"]) == (3, "as published")
    assert _measurement("psnr").describe()["protocol"].keys() == {"range", "border", "mean", "psnr"}


def test_defaults() -> None:
    assert vars(Protocol()) == {"quantise": "round", "border": 0, "align": False, "note": None}
    image = torch.rand(3, 16, 20)
    assert _measurement("psnr", border=7).measure(image, [image]) == {"psnr": float("inf")}  # 2x6 pixels are left


def test_quantisation_of_values_between_two_levels() -> None:
    """The image is 3/4 of a level too bright: rounded 1 level, truncated 0, not quantised 3/4."""
    sharp = torch.full((3, 16, 16), 100 / 255)
    restored = torch.full((3, 16, 16), 100.75 / 255)
    found = {
        q: _measurement("psnr", quantise=q).measure(restored, [sharp])["psnr"] for q in ("round", "truncate", "none")
    }
    assert found["round"] == pytest.approx(20 * np.log10(255))
    assert found["truncate"] == float("inf")
    assert found["none"] == pytest.approx(20 * np.log10(255 / 0.75), abs=1e-4)


def test_border_is_cropped() -> None:
    sharp = torch.zeros(3, 20, 20)
    restored = sharp.clone()
    restored[:, :4] = 1.0
    assert _measurement("psnr", border=4).measure(restored, [sharp])["psnr"] == float("inf")
    assert _measurement("psnr", border=3).measure(restored, [sharp])["psnr"] < 30


def test_border_without_remaining_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="protocol.border=8 leaves no pixels of an image of 20x16"):
        _measurement("psnr", border=8).measure(torch.rand(3, 16, 20), [torch.rand(3, 16, 20)])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quantise": "floor"}, "round, truncate"),
        ({"border": -1}, "at least 0"),
        ({"border": 1.5}, "whole number"),
    ],
)
def test_invalid_protocols_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Protocol(**settings)


def test_nan_is_refused() -> None:
    restored = torch.rand(3, 16, 16)
    restored[0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="holds NaN"):
        _measurement("psnr").measure(restored, [torch.rand(3, 16, 16)])


@pytest.mark.parametrize("name", option_names("protocol"))
def test_description_of_every_protocol_is_complete(name: str) -> None:
    cfg = config(f"protocol={name}", name="evaluate")
    description = instantiate(cfg.protocol).describe()
    assert "8" in description["range"]
    infos = {metric: MetricInfo.of(metric, node) for metric, node in cfg.metric.items()}
    assert all(info.title and info.description for info in infos.values())
