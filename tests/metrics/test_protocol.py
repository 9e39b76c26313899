"""Metrics of a protocol: masks, luma, and how values of several images are treated."""

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deblurlab.metrics import LOWER_IS_BETTER, METRICS, NO_REFERENCE, Protocol
from deblurlab.metrics.psnr import psnr_of_levels
from deblurlab.metrics.ssim import ssim_of_levels

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


def test_ssim_of_a_masked_image_equals_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    """The mask selects the centres of windows; windows that don't fit into the image are left out."""
    restored, sharp = pair
    mask = np.random.default_rng(1).integers(0, 2, restored.shape[:2]).astype(np.float64)
    _, values = structural_similarity(sharp, restored, channel_axis=2, full=True, **GAUSSIAN)
    inside = mask[5:-5, 5:-5].astype(bool)
    expected = values[5:-5, 5:-5].mean(axis=2)[inside].mean()
    masked = ssim_of_levels(_tensor(restored), _tensor(sharp), torch.from_numpy(mask)[None, None])
    assert masked.item() == pytest.approx(expected, abs=1e-9)
    assert abs(masked.item() - values[5:-5, 5:-5].mean()) > 1e-4


def test_metrics_of_luma_equal_scikit_image(pair: tuple[np.ndarray, np.ndarray]) -> None:
    restored, sharp = (16 + image @ np.array([65.481, 128.553, 24.966]) / 255 for image in pair)
    found = Protocol(metrics=("psnr_y", "ssim_y")).measure(*(_tensor(pair[0])[0] / 255, [_tensor(pair[1])[0] / 255]))
    assert found == {
        "psnr_y": pytest.approx(peak_signal_noise_ratio(sharp, restored, data_range=255)),
        "ssim_y": pytest.approx(structural_similarity(sharp, restored, **GAUSSIAN)),
    }
    mask = torch.ones(1, 1, 90, 70, dtype=torch.float64)
    mask[..., :40] = 0
    part = peak_signal_noise_ratio(sharp[:, 40:], restored[:, 40:], data_range=255)
    assert METRICS["psnr_y"](_tensor(pair[0]), _tensor(pair[1]), mask).item() == pytest.approx(part)


def test_metrics_without_references() -> None:
    assert {"sharpness"} == NO_REFERENCE
    assert {"lpips_alex", "lpips_vgg", "dists", "kid"} == LOWER_IS_BETTER
    image = torch.rand(3, 16, 16)
    assert Protocol(metrics=("psnr", "sharpness")).measure(image, []).keys() == {"sharpness"}


def test_a_metric_that_is_nan_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "psnr", lambda x, y, mask: torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="psnr is not a number"):
        Protocol(metrics=("psnr",)).measure(torch.rand(3, 16, 16), [torch.rand(3, 16, 16)])


@pytest.mark.parametrize(
    ("quantise", "words"),
    [("round", "rounded to 8 bits"), ("truncate", "truncated to 8 bits"), ("none", "not made 8-bit")],
)
def test_the_description_names_every_setting(quantise: str, words: str) -> None:
    protocol = Protocol(metrics=("psnr_y",), quantise=quantise, border=3, align=True, note="as published")  # type: ignore[arg-type]
    description = protocol.describe()
    assert description.keys() == {"range", "border", "mean", "aligned", "note", "psnr_y"}
    assert description["range"].startswith(f"clamped to [0, 1], {words}")
    assert (description["border"], description["note"]) == (3, "as published")
    assert Protocol(metrics=("psnr",)).describe().keys() == {"range", "border", "mean", "psnr"}
