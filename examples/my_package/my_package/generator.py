"""Generator of one's own, a plain `nn.Module`."""

from torch import Tensor, nn


class Shuffled(nn.Module):
    """Three convolutions at half the resolution that predict the difference to the sharp image."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, blurred: Tensor) -> Tensor:
        """Return the restored images; the sides of images are even."""
        return blurred + self.layers(blurred)
