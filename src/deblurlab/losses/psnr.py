"""PSNR as a loss."""

import math

from torch import Tensor

from deblurlab.losses.base import LossTerm


class PSNR(LossTerm):
    """10 log₁₀(1 + MSE / ε) of each image in dB, averaged over images.

    This is -PSNR plus the constant that makes it 0 for equal images. Its gradient is that of NAFNet's PSNRLoss (Chen et
    al., ECCV 2022, code).

    Args:
        epsilon: ε, in squared units of [0, 1].

    Raises:
        ValueError: `epsilon` is not positive.

    Example:
        >>> import torch
        >>> loss = PSNR(epsilon=1 / 9)
        >>> round(loss(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).item(), 4)  # 10 log₁₀(1 + 9)
        10.0
    """

    scales = "all"

    def __init__(self, *, epsilon: float = 1e-8) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it must be greater than 0")
        self._epsilon = epsilon

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the loss in dB, averaged over images."""
        mse = (restored - sharp).square().mean(dim=(1, 2, 3))
        return 10 / math.log(10) * (mse / self._epsilon).log1p().mean()
