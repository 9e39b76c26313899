"""Structural similarity over several scales as a loss."""

from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from deblurlab.losses.base import LossTerm
from deblurlab.losses.ssim import window


class MSSSIM(LossTerm):
    """1 - MS-SSIM over five scales (Wang et al., Asilomar 2003; Zhao et al., IEEE TCI 2017), by torchmetrics. The
    factors of the product, which lie in [-1, 1], are taken to [0, 1] by (1 + x) / 2: fractional powers of negative
    numbers don't exist, and cutting at 0 gives gradients that are no numbers.
    """

    def __init__(self, *, sigma: float = 1.5) -> None:
        super().__init__()
        self._sigma, self._window = sigma, window(sigma)
        self.min_size = self._window * 2**4

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        return 1 - multiscale_structural_similarity_index_measure(
            restored, sharp, sigma=self._sigma, kernel_size=self._window, data_range=1.0, normalize="simple"
        )
