"""The metric as a loss."""

import math

from torch import Tensor

from deblurlab.losses.base import LossTerm


class PSNR(LossTerm):
    """10 log10(1 + MSE / epsilon) of each image, in dB, averaged over images: -PSNR but for a constant that makes it
    0 for equal images. Its gradient is that of NAFNet's PSNRLoss (Chen et al., ECCV 2022, code)."""

    scales = "all"

    def __init__(self, *, epsilon: float = 1e-8) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it is more than 0")
        self._epsilon = epsilon

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        mse = (restored - sharp).square().mean(dim=(1, 2, 3))
        return 10 / math.log(10) * (mse / self._epsilon).log1p().mean()
