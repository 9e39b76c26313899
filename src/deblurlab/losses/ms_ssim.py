"""Structural similarity over several scales as a loss."""

import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from deblurlab.losses.base import LossTerm, exact
from deblurlab.losses.ssim import window


class MSSSIM(LossTerm):
    """1 - MS-SSIM over five scales (Wang et al., Asilomar 2003; Zhao et al., IEEE TCI 2017), by torchmetrics. The
    factors of the product, which lie in [-1, 1], are taken to [0, 1] by (1 + x) / 2: fractional powers of negative
    numbers don't exist, and cutting at 0 gives gradients that are no numbers.
    """

    def __init__(self, *, sigma: float = 1.5) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f"sigma is {sigma}: it is more than 0 pixels")
        self._sigma, self._window = sigma, window(sigma)
        self.min_size = self._window * 2**4

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        with torch.autocast(restored.device.type, enabled=False):  # differences of squares need all their digits
            value = multiscale_structural_similarity_index_measure(
                exact(restored), exact(sharp), sigma=self._sigma, kernel_size=self._window, data_range=1.0,
                normalize="simple",
            )  # fmt: skip
        return 1 - value
