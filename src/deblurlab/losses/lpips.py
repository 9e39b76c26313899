"""LPIPS as a loss."""

from typing import Literal

from torch import Tensor

from deblurlab.losses.base import LossTerm
from deblurlab.metrics.perceptual import lpips_network


class LPIPS(LossTerm):
    """Learned perceptual image patch similarity (LPIPS), version 0.1 (Zhang et al., CVPR 2018, equation 1).

    The computation and the linear layers are those of the authors' package `lpips`. The value is the
    mean over images. No parameter is trained.

    Args:
        net: Backbone, "alex" or "vgg".
        weights: Weights of the backbone. "imagenet" uses torchvision's file, from the cache or downloaded. "random"
            uses random weights, which is a different loss. Any other value is the path of a state dict of torchvision's
            AlexNet or VGG16.

    Raises:
        UserError: The weights are unavailable or don't match the network.
        ValueError: `net` is unknown.

    Example:
        >>> LPIPS(net="squeeze")
        Traceback (most recent call last):
            ...
        ValueError: unknown network 'squeeze': alex or vgg
    """

    min_size = 32

    def __init__(self, *, net: Literal["alex", "vgg"] = "alex", weights: str = "imagenet") -> None:
        super().__init__()
        self._weights = weights
        self.distance = lpips_network(net, weights, key="loss.lpips.weights")

    def resolved_settings(self) -> dict[str, str]:
        """Return the weights in use."""
        return {"weights": self._weights}

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean LPIPS distance of the batch."""
        return self.distance(restored, sharp, normalize=True).mean()

    def train(self, mode: bool = True) -> "LPIPS":
        """Stay in evaluation mode, because the linear layers contain dropout."""
        return super().train(False)
