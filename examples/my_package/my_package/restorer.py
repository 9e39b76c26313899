"""Restorer of one's own."""

from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from deblurlab.restorers import BaseRestorer, Restored


class UnsharpMask(BaseRestorer):
    """Unsharp masking: blurred + amount * (blurred - smoothed).

    Args:
        amount: Strength of the sharpening.
        sigma: Standard deviation of the smoothing in pixels.
    """

    def __init__(self, *, amount: float = 1.0, sigma: float = 2.0) -> None:
        self.amount, self.sigma = amount, sigma

    def __call__(self, blurred: Tensor, pair: object) -> Restored:
        """Restore an image `(3, H, W)` in [0, 1]."""
        smoothed = gaussian_blur(blurred, 2 * round(3 * self.sigma) + 1, self.sigma)
        return Restored(blurred + self.amount * (blurred - smoothed))
