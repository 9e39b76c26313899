"""Perceptual metrics, which use pretrained networks."""

import warnings
from functools import cache
from typing import Literal

import torch
from lpips import LPIPS
from torch import Tensor, nn
from torchmetrics.functional.image.dists import DISTSNetwork
from torchvision.models import AlexNet_Weights, VGG16_Weights

from deblurlab.checkpoints.pretrained import load_submodule, read_weights

_URLS = {"alex": AlexNet_Weights.IMAGENET1K_V1.url, "vgg": VGG16_Weights.IMAGENET1K_V1.url}


def lpips(restored: Tensor, sharp: Tensor, net: Literal["alex", "vgg"]) -> Tensor:
    """Return the learned perceptual image patch similarity (LPIPS), version 0.1 (Zhang et al., CVPR 2018, equation 1).

    The computation is that of the authors' package `lpips`. Lower is better; 0 for equal images.

    Args:
        restored: Levels `(B, 3, H, W)` in 0..255.
        sharp: The reference, of the same shape and range.
        net: Backbone.

    Returns:
        `(B,)`, float64.

    Raises:
        UserError: The backbone's weights are unavailable. The message names the file and where to store it.
        ValueError: `net` is unknown.

    Example:
        >>> lpips(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64), "squeeze")
        Traceback (most recent call last):
            ...
        ValueError: unknown network 'squeeze': alex or vgg
    """
    with torch.no_grad():
        distance = _cached_lpips(net)(*(image.cpu().float() / 127.5 - 1 for image in (restored, sharp)))
    return distance.flatten().double()


def dists(restored: Tensor, sharp: Tensor) -> Tensor:
    """Return the deep image structure and texture similarity (DISTS; Ding et al., IEEE TPAMI 2022), by torchmetrics.

    Lower is better; 0 for equal images.

    Args:
        restored: Levels `(1, 3, H, W)` in 0..255.
        sharp: The reference, of the same shape and range.

    Returns:
        `(1,)`, float64.

    Raises:
        UserError: The weights of VGG16 are unavailable. The message names the file and where to store it.

    Example:
        >>> from deblurlab.metrics import Protocol
        >>> Protocol(metrics=("dists",)).describe()["dists"]
        'DISTS on VGG16; lower is better'
    """
    with torch.no_grad():
        distance = _cached_dists()(*(image.cpu().float() / 255 for image in (restored, sharp)))
    return distance.flatten().double()


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
        network = LPIPS(net=net, pnet_rand=True, verbose=False)
    if weights != "random":
        state = read_weights(weights, _URLS[net], key=key)
        for name in ("slice1", "slice2", "slice3", "slice4", "slice5"):
            load_submodule(getattr(network.net, name), state, prefix="features.", key=key)
    return network.requires_grad_(False).eval()


@cache
def _cached_lpips(net: Literal["alex", "vgg"]) -> nn.Module:
    return lpips_network(net, "imagenet", key=None)


@cache
def _cached_dists() -> nn.Module:
    read_weights("imagenet", _URLS["vgg"], key=None)  # stores the file in torch's cache, where DISTSNetwork finds it
    return DISTSNetwork().eval()
