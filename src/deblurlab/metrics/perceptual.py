"""Metrics that look through pretrained networks."""

import warnings
from functools import cache
from typing import Literal

import torch
from lpips import LPIPS
from torch import Tensor, nn
from torchmetrics.functional.image.dists import DISTSNetwork
from torchvision.models import AlexNet_Weights, VGG16_Weights

from deblurlab.checkpoints.pretrained import load_part, read_weights

_URLS = {"alex": AlexNet_Weights.IMAGENET1K_V1.url, "vgg": VGG16_Weights.IMAGENET1K_V1.url}


def lpips(x: Tensor, y: Tensor, net: Literal["alex", "vgg"]) -> Tensor:
    """Learned perceptual image patch similarity, version 0.1 (Zhang et al., CVPR 2018), of levels `(B, 3, H, W)` in
    0..255: `(B,)`.

    Raises:
        UserError: The network's weights can't be had; the message says what to place where.
    """
    with torch.no_grad():
        distance = _lpips(net)(*(image.cpu().float() / 127.5 - 1 for image in (x, y)))
    return distance.flatten().double()


def dists(x: Tensor, y: Tensor) -> Tensor:
    """Deep image structure and texture similarity (Ding et al., IEEE TPAMI 2022), by torchmetrics, of levels
    `(1, 3, H, W)` in 0..255: `(1,)`.

    Raises:
        UserError: The network's weights can't be had; the message says what to place where.
    """
    with torch.no_grad():
        distance = _dists()(*(image.cpu().float() / 255 for image in (x, y)))
    return distance.flatten().double()


def lpips_network(net: Literal["alex", "vgg"], weights: str, *, key: str | None) -> nn.Module:
    """The metric's network, frozen: `net(x, y, normalize=True)` of images in [0, 1]. Its authors' package brings the
    learnt weights of channels, but not those of the network below. `weights` as for `read_weights`, or "random".

    Raises:
        UserError: The weights can't be had or don't fit.
        ValueError: An unknown network.
    """
    if net not in _URLS:
        raise ValueError(f"unknown network {net!r}: alex or vgg")
    with warnings.catch_warnings():  # lpips 0.1.4 asks torchvision in a way that is deprecated
        warnings.simplefilter("ignore", UserWarning)
        network = LPIPS(net=net, pnet_rand=True, verbose=False)
    if weights != "random":
        state = read_weights(weights, _URLS[net], key=key)
        for name in ("slice1", "slice2", "slice3", "slice4", "slice5"):
            load_part(getattr(network.net, name), state, prefix="features.", key=key)
    return network.requires_grad_(False).eval()


@cache
def _lpips(net: Literal["alex", "vgg"]) -> nn.Module:
    return lpips_network(net, "imagenet", key=None)


@cache
def _dists() -> nn.Module:
    read_weights("imagenet", _URLS["vgg"], key=None)  # into torch's cache, where the network looks for them
    return DISTSNetwork().eval()
