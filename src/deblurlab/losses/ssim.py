"""Structural similarity as a loss."""

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from deblurlab.losses.base import LossTerm, exact


class SSIM(LossTerm):
    """1 - SSIM (Wang et al., IEEE TIP 2004; Zhao et al., IEEE TCI 2017, equation 8) with a Gaussian window of `sigma`
    pixels, by torchmetrics, which averages over a reflected border too."""

    def __init__(self, *, sigma: float = 1.5) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f"sigma is {sigma}: it is more than 0 pixels")
        self._sigma = sigma
        self.min_size = window(sigma)

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        with torch.autocast(restored.device.type, enabled=False):  # differences of squares need all their digits
            value = structural_similarity_index_measure(
                exact(restored), exact(sharp), sigma=self._sigma, data_range=1.0
            )
        assert isinstance(value, Tensor)
        return 1 - value


def window(sigma: float) -> int:
    """The side of torchmetrics' Gaussian window."""
    return int(3.5 * sigma + 0.5) * 2 + 1
