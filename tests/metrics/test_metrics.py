"""PSNR and SSIM against scikit-image, an independent implementation."""

import numpy as np
import pytest
import skimage.data
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deblurlab.metrics import psnr, ssim


def _tensor(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    photo = skimage.data.chelsea()[:121, :203]
    noisy = np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    shifted = np.roll(photo, 3, axis=1)
    return [(noisy, photo), (shifted, photo), (rng.integers(0, 256, photo.shape, dtype=np.uint8), photo)]


def test_psnr_is_that_of_scikit_image_for_every_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [peak_signal_noise_ratio(sharp, restored) for restored, sharp in pairs]
    found = psnr(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_ssim_is_that_of_scikit_image_for_every_image(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:
    expected = [
        structural_similarity(
            sharp, restored, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for restored, sharp in pairs
    ]
    found = ssim(_tensor(*(r for r, _ in pairs)), _tensor(*(s for _, s in pairs)))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_psnr_by_hand() -> None:
    sharp = torch.zeros(2, 3, 4, 4)
    restored = sharp.clone()
    restored[0] = 10 / 255
    values = psnr(restored, sharp)
    assert values[0].item() == pytest.approx(20 * np.log10(255 / 10))
    assert values[1].item() == float("inf")


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_images_are_judged_as_the_files_they_become(metric: object) -> None:
    """What is out of range is clamped, what lies between two levels rounded."""
    sharp = torch.rand(1, 3, 16, 16)
    restored = sharp + 0.4 * torch.randn_like(sharp)
    as_file = (restored.clamp(0, 1) * 255).round() / 255
    assert torch.equal(metric(restored, sharp), metric(as_file, sharp))  # type: ignore[operator]


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_shapes_that_differ_are_refused(metric: object) -> None:
    with pytest.raises(ValueError, match="of one shape"):
        metric(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 17))  # type: ignore[operator]


def test_an_image_smaller_than_ssims_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 11x11"):
        ssim(torch.rand(1, 3, 10, 30), torch.rand(1, 3, 10, 30))
