"""SSIM: masks, sizes at the limits of strips and windows, volumes, and the computation on GPUs."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from deblurlab.metrics import ssim
from deblurlab.metrics.ssim import _blur, _blur_by_convolution, _ssim_map, ssim_matlab_rgb, ssim_of_levels

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


def _pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return correlated random images `(height, width, 3)` in levels."""
    sharp, other = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3)).astype(np.float64)
    return 0.7 * sharp + 0.3 * other, sharp


def _tensors(*pairs: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    restored, sharp = (torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2) for side in zip(*pairs, strict=True))
    return restored.contiguous(), sharp.contiguous()


@pytest.mark.parametrize("size", [(11, 11), (11, 30), (74, 20), (75, 20)])  # a strip holds 64 rows of windows
def test_ssim_equals_scikit_image_at_the_limits_of_strips_and_windows(size: tuple[int, int]) -> None:
    restored, sharp = _pair(*size)
    expected = structural_similarity(sharp, restored, channel_axis=2, **GAUSSIAN)
    assert ssim_of_levels(*_tensors((restored, sharp))).item() == pytest.approx(expected, abs=1e-9)


def test_ssim_of_masked_images_equals_scikit_image() -> None:
    """The mask selects the centres of windows; windows that don't fit into the image are left out."""
    pairs = [_pair(30, 40), _pair(30, 40, seed=1)]
    masks = np.random.default_rng(2).integers(0, 2, (2, 30, 40)).astype(np.float64)
    masks[1, :15] = 0
    expected = []
    for (restored, sharp), mask in zip(pairs, masks, strict=True):
        _, values = structural_similarity(sharp, restored, channel_axis=2, full=True, **GAUSSIAN)
        expected.append(values[5:-5, 5:-5].mean(axis=2)[mask[5:-5, 5:-5] == 1].mean())
    found = ssim_of_levels(*_tensors(*pairs), torch.from_numpy(masks)[:, None])
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_the_computation_on_gpus_equals_that_on_cpus() -> None:
    """It consists of convolutions, which run on CPUs too."""
    x, y = _tensors(_pair(20, 27), _pair(20, 27, seed=1))
    planes = torch.stack([_blur(plane) for plane in x.flatten(0, 1)]).view(2, 3, 10, 17)
    torch.testing.assert_close(_blur_by_convolution(x), planes, rtol=1e-12, atol=0)
    values = _ssim_map(x, y, _blur_by_convolution).mean(dim=(1, 2, 3))
    torch.testing.assert_close(values, ssim_of_levels(x, y), rtol=1e-9, atol=0)


def test_an_image_smaller_than_ssims_window_is_refused() -> None:
    with pytest.raises(ValueError, match="window is 11x11"):
        ssim(torch.rand(1, 3, 10, 30), torch.rand(1, 3, 10, 30))


def _volume_window() -> np.ndarray:
    x = np.arange(11) - 5
    profile = np.exp(-(x**2) / (2 * 1.5**2))
    window = profile[:, None, None] * profile[None, :, None] * profile[None, None, :]
    return window / window.sum()


def test_ssim_of_a_volume_equals_the_definition() -> None:
    """Compute every window separately in float64."""
    rng = np.random.default_rng(0)
    x, y = (rng.integers(0, 256, (12, 14, 3)).astype(float) for _ in range(2))
    y = 0.7 * x + 0.3 * y
    window, c1, c2 = _volume_window(), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    padded = [np.pad(image, 5, mode="edge") for image in (x, y)]
    values = []
    for position in np.ndindex(x.shape):
        p, q = (w[tuple(slice(i, i + 11) for i in position)] for w in padded)
        mean_p, mean_q = (window * p).sum(), (window * q).sum()
        var_p, var_q = (window * (p - mean_p) ** 2).sum(), (window * (q - mean_q) ** 2).sum()
        covariance = (window * (p - mean_p) * (q - mean_q)).sum()
        values.append(
            (2 * mean_p * mean_q + c1) * (2 * covariance + c2) / ((mean_p**2 + mean_q**2 + c1) * (var_p + var_q + c2))
        )
    value = ssim_matlab_rgb(*(torch.from_numpy(image).permute(2, 0, 1)[None] for image in (x, y)))
    assert value.item() == pytest.approx(np.mean(values), abs=1e-10)
