"""Sharpness, a no-reference metric."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.metrics.levels import deterministic_mean, luma


def sharpness(images: Tensor) -> Tensor:
    """Return the variance of the Laplacian of luma (Pech-Pacheco et al., ICPR 2000).

    The Laplacian is the sum of the four neighbours minus four times the pixel, without padding. Blur and denoising
    lower the value, noise and ringing raise it: it measures the amount of fine contrast, not its correctness.

    Args:
        images: Levels `(B, 3, H, W)` in 0..255 with sides of at least 3.

    Returns:
        `(B,)` in squared levels of Y (16..235).

    Example:
        >>> image = torch.zeros(1, 3, 3, 4, dtype=torch.float64)
        >>> image[:, :, 1, 1] = 255  # Y is 219 above black: Laplacians -876 and 219, mean -328.5
        >>> round(sharpness(image).item(), 2)  # 547.5²
        299756.25
    """
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    laplacians = F.conv2d(luma(images), kernel)
    return torch.stack([deterministic_mean((values - deterministic_mean(values)).square()) for values in laplacians])
