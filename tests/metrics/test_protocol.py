"""Metrics of a protocol: masks, luma, and how values of several images are treated."""

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deblurlab.metrics import LOWER_IS_BETTER, METRICS, NO_REFERENCE, Protocol, sharpness
from deblurlab.metrics.levels import levels
from deblurlab.metrics.psnr import psnr_of_levels
from deblurlab.metrics.ssim import ssim_matlab_rgb

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A noisy and a clean photograph, in levels."""
    photo = skimage.data.chelsea()[:90, :70].astype(np.float64)
    return np.clip(photo + np.random.default_rng(0).normal(0, 20, photo.shape), 0, 255).round(), photo


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def test_psnr_of_masked_images_by_hand() -> None:
    restored, mask = torch.zeros(2, 3, 2, 3, dtype=torch.float64), torch.zeros(2, 1, 2, 3, dtype=torch.float64)
    restored[:, :, 0, 0], restored[:, :, 1, 2] = 10, 255
    mask[0, 0, 0, :2] = 1  # errors 10 and 0
    mask[1, 0, 1, 2] = 1  # error 255
    values = psnr_of_levels(restored, torch.zeros_like(restored), mask)
    assert values.tolist() == pytest.approx([10 * np.log10(255**2 / 50), 0])


def test_metrics_of_luma_equal_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    restored, sharp = (16 + image @ np.array([65.481, 128.553, 24.966]) / 255 for image in pair)
    found = Protocol(metrics=("psnr_y", "ssim_y")).measure(*(_tensor(pair[0])[0] / 255, [_tensor(pair[1])[0] / 255]))
    assert found == {
        "psnr_y": pytest.approx(peak_signal_noise_ratio(sharp, restored, data_range=255)),
        "ssim_y": pytest.approx(structural_similarity(sharp, restored, **GAUSSIAN)),
    }
    whole = METRICS["ssim_matlab_rgb"](_tensor(pair[0]), _tensor(pair[1]), None)
    assert torch.equal(whole, ssim_matlab_rgb(_tensor(pair[0]), _tensor(pair[1])))
    mask = torch.ones(1, 1, 90, 70, dtype=torch.float64)
    mask[..., :40] = 0
    part = peak_signal_noise_ratio(sharp[:, 40:], restored[:, 40:], data_range=255)
    assert METRICS["psnr_y"](_tensor(pair[0]), _tensor(pair[1]), mask).item() == pytest.approx(part)
    _, values = structural_similarity(sharp, restored, full=True, **GAUSSIAN)
    part = METRICS["ssim_y"](_tensor(pair[0]), _tensor(pair[1]), mask)
    assert part.item() == pytest.approx(values[5:-5, 40:-5].mean())


def test_metrics_without_references() -> None:
    assert {"sharpness"} == NO_REFERENCE
    assert {"lpips_alex", "lpips_vgg", "dists", "kid"} == LOWER_IS_BETTER
    image = torch.rand(3, 16, 16)
    found = Protocol(metrics=("psnr", "sharpness")).measure(image, [])
    assert found == {"sharpness": sharpness(levels(image[None])).item()}


def test_a_metric_that_is_nan_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "psnr", lambda x, y, mask: torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="psnr is not a number"):
        Protocol(metrics=("psnr",)).measure(torch.rand(3, 16, 16), [torch.rand(3, 16, 16)])


@pytest.mark.parametrize(
    ("quantise", "words"),
    [("round", "rounded to 8 bits"), ("truncate", "truncated to 8 bits"), ("none", "not made 8-bit")],
)
def test_the_description_names_every_setting(quantise: str, words: str) -> None:
    protocol = Protocol(metrics=("psnr_y", "ssim_y"), quantise=quantise, border=3, align=True, note="as published")  # type: ignore[arg-type]
    description = protocol.describe()
    assert description.keys() == {"range", "border", "mean", "aligned", "note", "psnr_y", "ssim_y"}
    assert description["range"].startswith(f"clamped to [0, 1], {words}")
    assert (description["border"], description["note"]) == (3, "as published")
    assert Protocol(metrics=("psnr",)).describe().keys() == {"range", "border", "mean", "psnr"}


def test_defaults() -> None:
    expected = {"quantise": "round", "border": 0, "align": False, "note": None}
    assert vars(Protocol()) == {"metrics": ("psnr", "ssim", "ssim_matlab_rgb"), **expected}
    image = torch.rand(3, 16, 20)
    assert Protocol(metrics=("psnr",), border=7).measure(image, [image]) == {
        "psnr": float("inf")
    }  # 2x6 pixels are left
