"""The perceptual metric as a loss."""

from typing import Literal

from torch import Tensor

from deblurlab.losses.base import LossTerm
from deblurlab.metrics.perceptual import lpips_network


class LPIPS(LossTerm):
    """Learned perceptual image patch similarity, version 0.1 (Zhang et al., CVPR 2018, equation 1), by its authors'
    package.

    `net` is "alex" or "vgg". `weights`: "imagenet" takes torchvision's file from the cache or the network; "random" is
    another loss, never chosen silently; anything else is the path of a state dict of torchvision's AlexNet or VGG16.

    Raises:
        UserError: The weights can't be had or don't fit.
        ValueError: An unknown network.
    """

    min_size = 32

    def __init__(self, *, net: Literal["alex", "vgg"] = "alex", weights: str = "imagenet") -> None:
        super().__init__()
        self._weights = weights
        self.distance = lpips_network(net, weights, key="loss.lpips.weights")

    def choices(self) -> dict[str, str]:
        return {"weights": self._weights}

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        return self.distance(restored, sharp, normalize=True).mean()

    def train(self, mode: bool = True) -> "LPIPS":
        return super().train(False)  # its dropout belongs to its own training
