"""Metrics that need no reference."""

import torch
from torch import Tensor

from deblurlab.metrics.base import ImageMetric
from deblurlab.metrics.sharpness import sharpness


class Sharpness(ImageMetric):
    """Sharpness of an image without a reference, see `sharpness`.

    Example:
        >>> Sharpness()(torch.rand(1, 1, 1, 1).expand(2, 3, 8, 8)).item()  # uniform images
        0.0
    """

    title, digits, higher_is_better = "sharpness", 1, True
    description = "variance of the Laplacian of Y of BT.601 (16..235); no reference; noise raises it too"
    image_dtype = torch.float64

    def update(self, restored: Tensor) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1]."""
        self.add(sharpness(restored * 255))
