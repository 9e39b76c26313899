"""A smooth absolute difference."""

from torch import Tensor

from deblurlab.losses.base import LossTerm


class Charbonnier(LossTerm):
    """Mean of sqrt((restored - sharp)^2 + epsilon^2) - epsilon (Charbonnier et al., ICIP 1994; in restoration since
    Lai et al., LapSRN, CVPR 2017, which leaves the constant epsilon in)."""

    scales = "all"

    def __init__(self, *, epsilon: float = 1e-3) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it is more than 0")
        self._epsilon = epsilon

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        return smooth_absolute(restored - sharp, self._epsilon)


def smooth_absolute(difference: Tensor, epsilon: float) -> Tensor:
    """Mean of sqrt(difference^2 + epsilon^2) - epsilon."""
    return (difference.square() + epsilon**2).sqrt().mean() - epsilon
