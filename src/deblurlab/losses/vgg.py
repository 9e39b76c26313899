"""Perceptual loss."""

import logging
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from deblurlab.checkpoints.pretrained import load_submodule, read_weights
from deblurlab.errors import UserError
from deblurlab.losses.base import LossTerm

_LOG = logging.getLogger(__name__)
_URL = VGG19_Weights.IMAGENET1K_V1.url
_STATISTICS = {"imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "symmetric": ((0.5,) * 3, (0.5,) * 3)}
"""Mean and standard deviation that images are normalised with."""


class VGG(LossTerm):
    """Perceptual loss: distance of VGG19 features, averaged over `layers` (Johnson et al., ECCV 2016, equation 2).

        mean over layers l of mean(d(φ_l(restored) / s_l, φ_l(sharp) / s_l)),  d(x, y) = (x - y)² or |x - y|

    The default layer is that of DeblurGAN (Kupyn et al., CVPR 2018, equation 4). The published code of DeblurGAN and of
    DeblurGAN-v2 takes it before ReLU (conv3_3), that of DeblurGAN for images in [-1, 1]. No parameter is trained.

    Args:
        layers: Names `relu<block>_<convolution>` for features after ReLU, `conv<block>_<convolution>` for those before.
        distance: d, "mse" or "l1".
        normalisation: "imagenet" normalises images with ImageNet's mean and standard deviation, which the pretrained
            features expect. "symmetric" converts them to [-1, 1].
        weights: "imagenet" uses torchvision's file, from the cache or downloaded. "auto" does too, but falls back to
            random features with a warning. "random" uses random features, which don't depend on the seed. Any other
            value is the path of a VGG19 state dict.
        calibrated: Whether s_l is the root mean square of the features for a fixed image of 1/f noise, so that a weight
            has the same effect for every layer and for random or pretrained features. Published weights are for False,
            where s_l is 1.

    Raises:
        UserError: The weights are unavailable or don't match the network.
        ValueError: A layer, the distance or the normalisation is unknown, or a layer is there twice.

    Example:
        >>> import torch
        >>> loss = VGG(layers=["relu1_1"], weights="random")
        >>> loss.resolved_settings()
        {'weights': 'random'}
        >>> loss(torch.ones(1, 3, 8, 8), torch.ones(1, 3, 8, 8)).item()
        0.0
    """

    mean: Tensor
    std: Tensor
    scale: Tensor

    def __init__(
        self,
        *,
        layers: Sequence[str] = ("relu3_3",),
        distance: Literal["mse", "l1"] = "mse",
        normalisation: Literal["imagenet", "symmetric"] = "imagenet",
        weights: str = "auto",
        calibrated: bool = True,
    ) -> None:
        super().__init__()
        self._layer_indices = sorted(_layer_indices(layers))
        if normalisation not in _STATISTICS:
            raise ValueError(f"unknown normalisation {normalisation!r}: {' or '.join(_STATISTICS)}")
        if distance not in ("mse", "l1"):
            raise ValueError(f"unknown distance {distance!r}: mse or l1")
        self._distance = F.mse_loss if distance == "mse" else F.l1_loss
        self.features = make_layers(cfgs["E"])[: self._layer_indices[-1] + 1]
        for i in self._layer_indices[:-1]:
            if isinstance(relu := self.features[i + 1], nn.ReLU):
                relu.inplace = False  # the features before it are compared
        self._weights = self._load_weights(weights)
        self.features.requires_grad_(False)
        for name, values in zip(("mean", "std"), _STATISTICS[normalisation], strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.ones(len(self._layer_indices)), persistent=False)
        if calibrated:
            with torch.no_grad():
                activations = self._activations(_pink_noise())
                self.scale.copy_(torch.stack([a.square().mean().sqrt() for a in activations]))

    def resolved_settings(self) -> dict[str, str]:
        """Return the weights in use."""
        return {"weights": self._weights}

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean distance of features, averaged over layers."""
        with torch.no_grad():
            target = self._activations(sharp)
        pairs = zip(self._activations(restored), target, self.scale, strict=True)
        return torch.stack([self._distance(r / scale, s / scale) for r, s, scale in pairs]).mean()

    def _activations(self, image: Tensor) -> list[Tensor]:
        x, activations = (image - self.mean) / self.std, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self._layer_indices:
                activations.append(x)
        return activations

    def _load_weights(self, weights: str) -> str:
        """Load the features' weights; return their source: "random", "imagenet" or a path."""
        if weights == "random":
            return self._randomise()
        source = "imagenet" if weights == "auto" else weights
        try:
            state = read_weights(source, _URL, key="loss.vgg.weights")
        except UserError as error:
            if weights != "auto":
                raise
            _LOG.warning(
                "loss.vgg uses RANDOM features: it compares textures, not objects, and its values differ from those in "
                "publications. To use the features pretrained on ImageNet: %s.",
                error,
            )
            return self._randomise()
        load_submodule(self.features, state, prefix="features.", key="loss.vgg.weights")
        return source

    def _randomise(self) -> str:
        """Initialise the convolutions at random, always with the same seed."""
        generator = torch.Generator().manual_seed(19)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        return "random"


def _layer_indices(names: Sequence[str]) -> list[int]:
    """Return the positions of layers in torchvision's network.

    Raises:
        ValueError: A name is unknown or there twice, or there is none.
    """
    positions: dict[str, int] = {}
    block, convolution, i = 1, 1, 0
    for item in cfgs["E"]:  # channels of a convolution, which a ReLU follows, or "M" for max pooling
        if item == "M":
            block, convolution, i = block + 1, 1, i + 1
        else:
            positions |= {f"conv{block}_{convolution}": i, f"relu{block}_{convolution}": i + 1}
            convolution, i = convolution + 1, i + 2
    unknown = sorted(set(names) - set(positions))
    if unknown or not names:
        raise ValueError(f"unknown VGG19 layers {unknown}; known: {', '.join(positions)}")
    if repeated := sorted({name for name in names if list(names).count(name) > 1}):
        raise ValueError(f"VGG19 layers {repeated} are there twice: all layers have the same weight, name each once")
    return [positions[name] for name in names]


def _pink_noise() -> Tensor:
    """Return a fixed image `(1, 3, 64, 64)` in [0, 1] of 1/f noise, which has the spectrum of photographs."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft2(torch.rand((3, 64, 64), generator=generator))
    y, x = torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)
    noise = torch.fft.irfft2(spectrum / (x**2 + y**2).sqrt().clamp(min=1 / 64))
    noise = noise - noise.mean()
    return (0.5 + 0.25 * noise / noise.std()).clamp(0, 1)[None]
