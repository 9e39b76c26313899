"""Mean squared error."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.losses.base import LossTerm


class MSE(LossTerm):
    """Mean squared error: mean((restored - sharp)²) over all values of the batch.

    Example:
        >>> import torch
        >>> MSE()(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)).item()
        0.25
    """

    scales = "all"

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean squared error of the batch."""
        return F.mse_loss(restored, sharp)
