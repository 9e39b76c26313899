"""Perceptual metrics, which use pretrained networks."""

import warnings
from typing import Literal

import lpips
import torch
from torch import Tensor, nn
from torchmetrics.functional.image.dists import DISTSNetwork
from torchvision.models import AlexNet_Weights, VGG16_Weights

from deblurlab.checkpoints.pretrained import load_submodule, read_weights
from deblurlab.metrics.base import ImageMetric

_URLS = {"alex": AlexNet_Weights.IMAGENET1K_V1.url, "vgg": VGG16_Weights.IMAGENET1K_V1.url}


class LPIPS(ImageMetric):
    """Learned perceptual image patch similarity (LPIPS), version 0.1 (Zhang et al., CVPR 2018, equation 1).

    The computation is that of the authors' package `lpips`. Lower is better; 0 for equal images.

    Args:
        net: Backbone.
        weights: Weights of the backbone, see `lpips_network`.

    Raises:
        UserError: The backbone's weights are unavailable. The message names the file and where to store it.
        ValueError: `net` is unknown.

    Example:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> LPIPS("alex", weights="random")(image, image).item()
        0.0
    """

    title, higher_is_better = "LPIPS", False

    def __init__(self, net: Literal["alex", "vgg"], weights: str = "imagenet") -> None:
        super().__init__()
        self.network = lpips_network(net, weights, key=None)

    def update(self, restored: Tensor, sharp: Tensor) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1]."""
        with torch.no_grad():
            self.add(self.network(restored, sharp, normalize=True).flatten())


class DISTS(ImageMetric):
    """Deep image structure and texture similarity (DISTS; Ding et al., IEEE TPAMI 2022), by torchmetrics.

    Lower is better; 0 for equal images.

    Raises:
        UserError: The weights of VGG16 are unavailable. The message names the file and where to store it.

    Example:
        >>> image = torch.rand(1, 3, 64, 64)
        >>> DISTS()(image, image).item()  # doctest: +SKIP
        0.0
    """

    title, higher_is_better = "DISTS", False
    description = "DISTS on VGG16; lower is better"

    def __init__(self) -> None:
        super().__init__()
        read_weights("imagenet", _URLS["vgg"], key=None)  # stores the file where DISTSNetwork looks for it
        self.network = DISTSNetwork().eval()

    def update(self, restored: Tensor, sharp: Tensor) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1]."""
        with torch.no_grad():
            self.add(self.network(restored, sharp).flatten())


def lpips_network(net: Literal["alex", "vgg"], weights: str, *, key: str | None) -> nn.Module:
    """Build the network of LPIPS, frozen and in evaluation mode.

    Call it as `network(x, y, normalize=True)` with images in [0, 1]. The package `lpips` contains the trained linear
    layers, but not the weights of the backbone.

    Args:
        net: Backbone.
        weights: "random", or as for `read_weights`.
        key: Config key of `weights`, for error messages.

    Raises:
        UserError: The weights are unavailable or don't match the network.
        ValueError: `net` is unknown.
    """
    if net not in _URLS:
        raise ValueError(f"unknown network {net!r}: alex or vgg")
    with warnings.catch_warnings():  # lpips 0.1.4 uses a deprecated argument of torchvision
        warnings.simplefilter("ignore", UserWarning)
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    if weights != "random":
        state = read_weights(weights, _URLS[net], key=key)
        for name in ("slice1", "slice2", "slice3", "slice4", "slice5"):
            load_submodule(getattr(network.net, name), state, prefix="features.", key=key)
    return network.requires_grad_(False).eval()
