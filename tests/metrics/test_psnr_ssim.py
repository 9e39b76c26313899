"""PSNR and SSIM against scikit-image, an independent implementation."""

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deblurlab.metrics import PSNR, SSIM, psnr, ssim


def _tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    photo = skimage.data.chelsea()[:121, :203]
    noisy = np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    shifted = np.roll(photo, 3, axis=1)
    return [(noisy, photo), (shifted, photo), (rng.integers(0, 256, photo.shape, dtype=np.uint8), photo)]


def test_psnr_equals_scikit_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [peak_signal_noise_ratio(sharp, restored) for restored, sharp in pairs]
    values = psnr(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(values.numpy(), expected, rtol=1e-12)


def test_ssim_equals_scikit_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [
        structural_similarity(
            sharp, restored, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for restored, sharp in pairs
    ]
    values = ssim(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(values.numpy(), expected, atol=1e-9)


def test_the_metrics_are_the_means_over_all_images(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [peak_signal_noise_ratio(sharp, restored) for restored, sharp in pairs]
    restored, sharp = (
        torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).double() / 255 for side in zip(*pairs, strict=True)
    )
    metric, similarity = PSNR(), SSIM()
    for batch in (slice(0, 2), slice(2, 3)):
        metric.update(restored[batch], sharp[batch])
        similarity.update(restored[batch], sharp[batch])
    assert metric.compute().item() == pytest.approx(np.mean(expected), abs=1e-9)
    assert similarity.compute().item() == pytest.approx(ssim(restored, sharp).mean().item(), abs=1e-9)


def test_psnr_by_hand() -> None:
    sharp = torch.zeros(2, 3, 4, 4)
    restored = sharp.clone()
    restored[0] = 10 / 255
    values = psnr(restored, sharp)
    assert values[0].item() == pytest.approx(20 * np.log10(255 / 10))
    assert values[1].item() == float("inf")


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_are_clamped_and_rounded_to_8_bits(metric: object) -> None:
    sharp = torch.rand(1, 3, 16, 16)
    restored = sharp + 0.4 * torch.randn_like(sharp)
    as_file = (restored.clamp(0, 1) * 255).round() / 255
    assert torch.equal(metric(restored, sharp), metric(as_file, sharp))  # type: ignore[operator]


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_different_shapes_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="of one shape"):
        metric(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 17))  # type: ignore[operator]
