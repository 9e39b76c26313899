"""Structural similarity."""

from collections.abc import Callable

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.metrics.levels import deterministic_mean, level_pair

SSIM_WINDOW = 11
"""Side of the Gaussian window in pixels, and so the minimum side of an image."""
_RADIUS = SSIM_WINDOW // 2
_SIGMA = 1.5
_STRIP_HEIGHT = 64
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _window() -> Tensor:
    x = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    window = torch.exp(-(x**2) / (2 * _SIGMA**2))
    return window / window.sum()


_WINDOW = _window()


def ssim(restored: Tensor, sharp: Tensor) -> Tensor:
    """Return the mean SSIM of each image (Wang et al., IEEE TIP 2004, equation 13).

        SSIM = (2 μx μy + C1) (2 cov(x, y) + C2) / ((μx² + μy² + C1) (var(x) + var(y) + C2))

    Computed per RGB channel on levels rounded to 8 bits, with a Gaussian window of 11x11 and sigma 1.5 without padding,
    C1 = (0.01 * 255)² and C2 = (0.03 * 255)²; averaged over positions, then channels. This is the variant of
    scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`. MATLAB's
    variant for RGB (`ssim_matlab_rgb`) gives higher values.

    Args:
        restored: `(B, C, H, W)` in [0, 1]; values outside are clamped.
        sharp: The reference, of the same shape and range.

    Returns:
        `(B,)`, float64, at most 1.

    Raises:
        ValueError: The shapes differ or aren't `(B, C, H, W)`, or a side is below 11 pixels.

    Example:
        >>> black, white = torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)
        >>> round(ssim(white, white).item(), 6), round(ssim(black, white).item(), 6)  # 0.01² / (1 + 0.01²)
        (1.0, 0.0001)
    """
    return ssim_of_levels(*level_pair(restored, sharp))


def ssim_of_levels(x: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean SSIM of each image, as `ssim` does, of images that are already levels.

    Args:
        x: `(B, C, H, W)` in 0..255.
        y: The reference, of the same shape and range.
        mask: `(B, 1, H, W)`: 1 for window centres to measure, 0 for others; None measures all.

    Returns:
        `(B,)`.

    Raises:
        ValueError: A side is below 11 pixels.
    """
    if min(x.shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM's window is {SSIM_WINDOW}x{SSIM_WINDOW}, the image only {x.shape[-1]}x{x.shape[-2]}")
    if mask is not None:
        inside = mask[..., _RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
        values = torch.stack([_ssim_map_by_strips(p, q) for p, q in zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)])
        over_channels = values.view(*x.shape[:2], *inside.shape[-2:]).mean(dim=1, keepdim=True)
        return (over_channels * inside).sum(dim=(1, 2, 3)) / inside.sum(dim=(1, 2, 3))
    if x.device.type == "cuda":
        return _ssim_map(x, y, _blur).mean(dim=(1, 2, 3))
    planes = zip(x.flatten(0, 1), y.flatten(0, 1), strict=True)
    values = torch.stack([deterministic_mean(_ssim_map_by_strips(p, q)) for p, q in planes])
    return values.view(x.shape[:2]).mean(dim=1)


def ssim_matlab_rgb(x: Tensor, y: Tensor) -> Tensor:
    """Return the mean SSIM of each RGB image as a volume, as MATLAB's `ssim` computes it for such an array.

    The Gaussian window has 11x11x11 pixels and sigma 1.5, and borders are replicated. The window covers all channels
    and so mixes them; values are higher than those of `ssim`. Most published GoPro tables since 2020 use this variant.

    Args:
        x: Levels `(B, 3, H, W)` in 0..255.
        y: The reference, of the same shape and range.

    Returns:
        `(B,)`, float64.

    Example:
        >>> black, white = (torch.full((1, 3, 16, 16), level, dtype=torch.float64) for level in (0, 255))
        >>> round(ssim_matlab_rgb(white, white).item(), 6), round(ssim_matlab_rgb(black, white).item(), 6)
        (1.0, 0.0001)
    """
    volumes = zip(x.cpu(), y.cpu(), strict=True)
    return torch.stack([deterministic_mean(_ssim_map(p, q, _blur_volume)) for p, q in volumes])


def _ssim_map_by_strips(x: Tensor, y: Tensor) -> Tensor:
    """Return the SSIM map of planes `(H, W)`, computed in strips that fit into the CPU's cache (half the time)."""
    rows = range(0, x.shape[0] - 2 * _RADIUS, _STRIP_HEIGHT)
    strips = [slice(row, row + _STRIP_HEIGHT + 2 * _RADIUS) for row in rows]
    return torch.cat([_ssim_map(x[strip], y[strip], _blur) for strip in strips])


def _ssim_map(x: Tensor, y: Tensor, blur: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the SSIM of each window, where `blur` gives the weighted means over windows."""
    mean_x, mean_y = blur(x), blur(y)
    # The formula needs only the sum of both variances.
    variances = blur(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance * (2 * covariance + _C2) / (variances + _C2)


def _blur(image: Tensor) -> Tensor:
    """Return the weighted mean of each window, `(..., H, W)` -> `(..., H - 10, W - 10)`."""
    if image.device.type == "cuda":
        return _blur_by_convolution(image)
    kernel = _WINDOW.numpy()
    return torch.from_numpy(cv2.sepFilter2D(image.numpy(), -1, kernel, kernel)[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS])


def _blur_by_convolution(image: Tensor) -> Tensor:
    """Return what `_blur` returns, for `(B, C, H, W)` on any device; several times slower on CPUs."""
    channels, window = image.shape[1], _WINDOW.to(image.device)
    rows = F.conv2d(image, window.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)
    return F.conv2d(rows, window.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)


def _blur_volume(image: Tensor) -> Tensor:
    """Return the weighted mean of each window of a volume with replicated borders, `(3, H, W)` -> `(3, H, W)`."""
    kernel, border = _WINDOW.numpy(), cv2.BORDER_REPLICATE
    planes = [
        torch.from_numpy(cv2.sepFilter2D(plane.numpy(), -1, kernel, kernel, borderType=border)) for plane in image
    ]
    # Along the channel axis every window covers all channels, so that the blur is a 3x3 mixing matrix.
    mixing = image.new_zeros(len(planes), len(planes))
    for c in range(len(planes)):
        for k, weight in enumerate(kernel.tolist()):
            mixing[c, min(max(c + k - _RADIUS, 0), len(planes) - 1)] += weight
    return torch.einsum("ij,jhw->ihw", mixing, torch.stack(planes))
