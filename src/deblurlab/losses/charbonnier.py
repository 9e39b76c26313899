"""Charbonnier loss."""

from torch import Tensor

from deblurlab.losses.base import LossTerm


class Charbonnier(LossTerm):
    """Smooth L1 loss: mean(√((restored - sharp)² + ε²)) - ε (Charbonnier et al., ICIP 1994).

    Used in restoration since LapSRN (Lai et al., CVPR 2017), which doesn't subtract the constant ε. It is 0 for equal
    images here.

    Args:
        epsilon: ε, the difference below which the loss is quadratic.

    Raises:
        ValueError: `epsilon` is not positive.

    Example:
        >>> import torch
        >>> loss = Charbonnier(epsilon=0.75)
        >>> loss(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).item()  # √(1² + 0.75²) - 0.75
        0.5
    """

    scales = "all"

    def __init__(self, *, epsilon: float = 1e-3) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it must be greater than 0")
        self._epsilon = epsilon

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean Charbonnier distance of the batch."""
        return charbonnier(restored - sharp, self._epsilon)


def charbonnier(difference: Tensor, epsilon: float) -> Tensor:
    """Return mean(√(difference² + ε²)) - ε."""
    return (difference.square() + epsilon**2).sqrt().mean() - epsilon
