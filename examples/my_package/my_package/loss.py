"""Loss term of one's own."""

from torch import Tensor, nn


class Focused(nn.Module):
    """Mean absolute error with more weight where the blurred image differs from the sharp one.

    Args:
        strength: Additional weight per unit of that difference.
    """

    def __init__(self, *, strength: float = 4.0) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, restored: Tensor, sharp: Tensor, blurred: Tensor) -> Tensor:
        """Return the loss of images `(B, 3, H, W)` in [0, 1]."""
        weight = 1 + self.strength * (blurred - sharp).abs()
        return (weight * (restored - sharp).abs()).mean()
