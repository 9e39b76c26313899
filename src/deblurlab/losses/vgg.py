"""The perceptual loss."""

import logging
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import VGG19_Weights
from torchvision.models.vgg import cfgs, make_layers

from deblurlab.checkpoints.pretrained import load_part, read_weights
from deblurlab.errors import UserError
from deblurlab.losses.base import LossTerm

_LOG = logging.getLogger(__name__)
_URL = VGG19_Weights.IMAGENET1K_V1.url
_CONVOLUTIONS = [f"relu{block}_{i}" for block, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)]


class VGG(LossTerm):
    """Distance between activations of VGG19 for restored and sharp images, averaged over `layers` (Johnson et al.,
    ECCV 2016, equation 2; layer conv3_3 as in DeblurGAN, Kupyn et al., CVPR 2018, equation 4).

    Layers are named `relu<block>_<convolution>` and taken after ReLU. Every sample is normalised with ImageNet's
    mean and deviation. `distance` is the mean of squares ("mse") or of absolute values ("l1").

    With `calibrated`, activations are divided by their root mean square on a fixed picture of 1/f noise, so that one
    weight means the same for every layer and for random as for learnt features; published weights go
    with `calibrated=False`.

    `weights`: "imagenet" takes torchvision's file from the cache or the network and fails without it; "auto" goes on
    with random features where it can't be had, and says so; "random" are random features by choice, always
    the same; anything else is the path of a VGG19 state dict.

    Raises:
        UserError: The weights can't be had or don't fit.
        ValueError: An unknown layer or distance.
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
        unknown = sorted(set(layers) - set(_CONVOLUTIONS))
        if unknown or not layers:
            raise ValueError(f"unknown VGG19 layers {unknown}; known: {', '.join(_CONVOLUTIONS)}")
        if distance not in ("mse", "l1"):
            raise ValueError(f"unknown distance {distance!r}: mse or l1")
        self._distance = F.mse_loss if distance == "mse" else F.l1_loss
        relus = [i for i, layer in enumerate(make_layers(cfgs["E"])) if isinstance(layer, nn.ReLU)]
        self._taken = sorted(relus[_CONVOLUTIONS.index(layer)] for layer in layers)
        self.features = make_layers(cfgs["E"])[: self._taken[-1] + 1]
        self._weights = self._load(weights)
        self.features.requires_grad_(False)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.ones(len(self._taken)), persistent=False)
        if calibrated:
            with torch.no_grad():
                activations = self._activations(_pink_noise())
                self.scale.copy_(torch.stack([a.square().mean().sqrt() for a in activations]))

    def choices(self) -> dict[str, str]:
        return {"weights": self._weights}

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._activations(sharp)
        pairs = zip(self._activations(restored), wanted, self.scale, strict=True)
        return torch.stack([self._distance(r / scale, s / scale) for r, s, scale in pairs]).mean()

    def _activations(self, image: Tensor) -> list[Tensor]:
        x, found = (image - self.mean) / self.std, []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self._taken:
                # The next layer's ReLU works in place, but on the next convolution's output.
                found.append(x)
        return found

    def _load(self, weights: str) -> str:
        if weights == "random":
            return self._randomise()
        named = "imagenet" if weights == "auto" else weights
        try:
            state = read_weights(named, _URL, key="loss.vgg.weights")
        except UserError as error:
            if weights != "auto":
                raise
            _LOG.warning(
                "The perceptual loss goes on with RANDOM features: it still compares textures, but knows nothing of "
                "objects, and its values aren't those of published losses. For the real thing: %s.",
                error,
            )
            return self._randomise()
        load_part(self.features, state, prefix="features.", key="loss.vgg.weights")
        return named

    def _randomise(self) -> str:
        generator = torch.Generator().manual_seed(19)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        return "random"


def _pink_noise() -> Tensor:
    """(1, 3, 64, 64) noise with the spectrum of photographs, in [0, 1]; always the same."""
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft2(torch.rand((3, 64, 64), generator=generator))
    y, x = torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)
    noise = torch.fft.irfft2(spectrum / (x**2 + y**2).sqrt().clamp(min=1 / 64))
    noise = noise - noise.mean()
    return (0.5 + 0.25 * noise / noise.std()).clamp(0, 1)[None]
