"""Discriminator of one's own, a plain `nn.Module` that returns a tensor."""

from torch import Tensor, nn


class Strided(nn.Module):
    """Three convolutions of stride 2."""

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 4, stride=2, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits `(B, 1, h, w)`; positive ones mean sharp."""
        return self.layers(image)
