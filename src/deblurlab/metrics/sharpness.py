"""Sharpness without a sharp image to compare with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.metrics.levels import luma, mean


def sharpness(images: Tensor) -> Tensor:
    """The variance of the Laplacian of luma: four neighbours minus four times the pixel, where they fit (Pech-Pacheco
    et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000). Blur lowers it, so does denoising; noise and
    ringing raise it: it says how much fine contrast there is, not whether it is right.

    Args:
        images: Levels `(B, 3, H, W)`, 0..255, sides of at least 3.

    Returns:
        `(B,)`, in squared levels.
    """
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    edges = F.conv2d(luma(images), kernel)
    return torch.stack([mean((edge - mean(edge)).square()) for edge in edges])
