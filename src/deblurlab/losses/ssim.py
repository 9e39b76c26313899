"""Structural similarity as a loss."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from deblurlab.losses.base import LossTerm, at_least_float32


class SSIM(LossTerm):
    """1 - SSIM with a Gaussian window (Wang et al., IEEE TIP 2004; Zhao et al., IEEE TCI 2017, equation 8).

    The variant is that of torchmetrics, which pads images by reflection and averages over the padded border too. The
    metric `deblurlab.metrics.ssim` doesn't pad.

    Args:
        sigma: Standard deviation of the window in pixels.

    Raises:
        ValueError: `sigma` is not positive.

    Example:
        >>> import torch
        >>> loss = SSIM()
        >>> loss(torch.ones(1, 3, 16, 16), torch.ones(1, 3, 16, 16)).item() < 1e-6
        True
        >>> round(loss(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)).item(), 4)  # 1 - 0.01² / (1 + 0.01²)
        0.9999
    """

    def __init__(self, *, sigma: float = 1.5) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f"sigma is {sigma}: it must be greater than 0 pixels")
        self._sigma = sigma
        self.min_size = window_size(sigma)

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return 1 - SSIM, averaged over images."""
        with torch.autocast(restored.device.type, enabled=False):  # variances lose their digits in half precision
            value = structural_similarity_index_measure(
                at_least_float32(restored), at_least_float32(sharp), sigma=self._sigma, data_range=1.0
            )
        assert isinstance(value, Tensor)
        return 1 - value


def window_size(sigma: float) -> int:
    """Return the side in pixels of torchmetrics' Gaussian window."""
    return int(3.5 * sigma + 0.5) * 2 + 1
