"""Networks without a base class of deblurlab, and other things that weights may name."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Plain(nn.Module):
    """One convolution; any size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, blurred: Tensor) -> Tensor:
        return self.layer(blurred)


class Strided(nn.Module):
    """Image + residual of a network of stride 4, which fails for other sizes than multiples of 4."""

    def __init__(self, *, width: int = 4, activation: nn.Module | None = None, sizes: Sequence[int] = ()) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, width, 4, stride=4)
        self.activation = activation or nn.Identity()
        self.up = nn.ConvTranspose2d(width, 3, 4, stride=4)

    def forward(self, blurred: Tensor) -> Tensor:
        return blurred + self.up(self.activation(self.down(blurred)))


class Shrinking(Strided):
    """Returns sides that are rounded down to a multiple of 4."""

    def forward(self, blurred: Tensor) -> Tensor:
        return self.up(self.down(blurred))


class Pyramid(Strided):
    """Restores at half and at full size."""

    multiple_of = 4

    def forward(self, blurred: Tensor) -> list[Tensor]:  # type: ignore[override]
        restored = super().forward(blurred)
        return [F.avg_pool2d(restored, 2), restored]


def make_strided(**arguments: int) -> nn.Module:
    """Return a network; trusted only by its own name."""
    return Strided(**arguments)


def no_network() -> dict[str, int]:
    """Return something else."""
    return {}
