"""The perceptual metric as a loss."""

import warnings
from typing import Literal

import lpips
from torch import Tensor
from torchvision.models import AlexNet_Weights, VGG16_Weights

from deblurlab.losses.base import LossTerm
from deblurlab.pretrained import load_part, read_weights

_URLS = {"alex": AlexNet_Weights.IMAGENET1K_V1.url, "vgg": VGG16_Weights.IMAGENET1K_V1.url}


class LPIPS(LossTerm):
    """Learned perceptual image patch similarity, version 0.1 (Zhang et al., CVPR 2018, equation 1), by its authors'
    package, which brings the learnt weights of channels, but not those of the network below.

    `net` is "alex" or "vgg". `weights`: "imagenet" takes torchvision's file from the cache or the network; "random" is
    another loss, never chosen silently; anything else is the path of a state dict of torchvision's AlexNet or VGG16.

    Raises:
        UserError: The weights can't be had or don't fit.
        ValueError: An unknown network.
    """

    min_size = 32

    def __init__(self, *, net: Literal["alex", "vgg"] = "alex", weights: str = "imagenet") -> None:
        super().__init__()
        if net not in _URLS:
            raise ValueError(f"unknown network {net!r}: alex or vgg")
        self._weights = weights
        with warnings.catch_warnings():  # lpips 0.1.4 asks torchvision in a way that is deprecated
            warnings.simplefilter("ignore", UserWarning)
            self.distance = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        if weights != "random":
            state = read_weights(weights, _URLS[net], key="loss.lpips.weights")
            for name in ("slice1", "slice2", "slice3", "slice4", "slice5"):
                load_part(getattr(self.distance.net, name), state, prefix="features.", key="loss.lpips.weights")
        self.distance.requires_grad_(False).eval()

    def choices(self) -> dict[str, str]:
        return {"weights": self._weights}

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        return self.distance(restored, sharp, normalize=True).mean()

    def train(self, mode: bool = True) -> "LPIPS":
        return super().train(False)  # its dropout belongs to its own training
