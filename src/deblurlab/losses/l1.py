"""L1 loss."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.losses.base import LossTerm


class L1(LossTerm):
    """Mean absolute error: mean(|restored - sharp|) over all values of the batch.

    Content loss of the residual U-Net GAN (docs/method.md).

    Example:
        >>> import torch
        >>> L1()(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).item()
        1.0
    """

    scales = "all"

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean absolute error of the batch."""
        return F.l1_loss(restored, sharp)
