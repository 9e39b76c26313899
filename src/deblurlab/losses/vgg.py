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
_LAYERS = [f"relu{block}_{i}" for block, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)]


class VGG(LossTerm):
    """Perceptual loss: distance of VGG19 features, averaged over `layers` (Johnson et al., ECCV 2016, equation 2).

        mean over layers l of mean(d(φ_l(restored) / s_l, φ_l(sharp) / s_l)),  d(x, y) = (x - y)² or |x - y|

    The default layer is conv3_3, as in DeblurGAN (Kupyn et al., CVPR 2018, equation 4). Images are normalised with
    ImageNet's mean and standard deviation. No parameter is trained.

    Args:
        layers: Names `relu<block>_<convolution>`; features are taken after ReLU.
        distance: d, "mse" or "l1".
        weights: "imagenet" uses torchvision's file, from the cache or downloaded. "auto" does too, but falls back to
            random features with a warning. "random" uses random features, which don't depend on the seed. Any other
            value is the path of a VGG19 state dict.
        calibrated: Whether s_l is the root mean square of the features for a fixed image of 1/f noise, so that a weight
            has the same effect for every layer and for random or pretrained features. Published weights are for False,
            where s_l is 1.

    Raises:
        UserError: The weights are unavailable or don't match the network.
        ValueError: A layer or the distance is unknown.

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
        weights: str = "auto",
        calibrated: bool = True,
    ) -> None:
        super().__init__()
        unknown = sorted(set(layers) - set(_LAYERS))
        if unknown or not layers:
            raise ValueError(f"unknown VGG19 layers {unknown}; known: {', '.join(_LAYERS)}")
        if distance not in ("mse", "l1"):
            raise ValueError(f"unknown distance {distance!r}: mse or l1")
        self._distance = F.mse_loss if distance == "mse" else F.l1_loss
        relus = [i for i, layer in enumerate(make_layers(cfgs["E"])) if isinstance(layer, nn.ReLU)]
        self._layer_indices = sorted(relus[_LAYERS.index(layer)] for layer in layers)
        self.features = make_layers(cfgs["E"])[: self._layer_indices[-1] + 1]
        self._weights = self._load_weights(weights)
        self.features.requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
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
                # No copy is needed: the next in-place ReLU works on the output of the next convolution.
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


def _pink_noise() -> Tensor:
    """Return a fixed image `(1, 3, 64, 64)` in [0, 1] of 1/f noise, which has the spectrum of photographs."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft2(torch.rand((3, 64, 64), generator=generator))
    y, x = torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)
    noise = torch.fft.irfft2(spectrum / (x**2 + y**2).sqrt().clamp(min=1 / 64))
    noise = noise - noise.mean()
    return (0.5 + 0.25 * noise / noise.std()).clamp(0, 1)[None]
