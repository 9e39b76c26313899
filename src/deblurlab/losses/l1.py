"""Absolute difference of pixels."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.losses.base import LossTerm


class L1(LossTerm):
    """Mean absolute difference over all values of the batch (the paper's content loss, equation 6)."""

    scales = "all"

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        return F.l1_loss(restored, sharp)
