"""Squared difference of pixels."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.losses.base import LossTerm


class MSE(LossTerm):
    """Mean squared difference over all values of the batch (the paper's equation 3)."""

    scales = "all"

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        return F.mse_loss(restored, sharp)
