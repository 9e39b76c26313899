"""Real-ESRGAN's discriminator."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import initialise, seen


class UNet(Discriminator):
    """A U-Net with one logit per pixel, each of which sees the whole neighbourhood, and spectral norm for a stable
    training (Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.4): three halvings, skip connections that add.
    4,376,897 parameters by default. Images are taken to [-1, 1] inside."""

    min_size = 8

    def __init__(self, *, width: int = 64, conditional: bool = False) -> None:
        super().__init__()
        self._conditional = conditional
        self.stem = initialise(nn.Conv2d(6 if conditional else 3, width, 3, padding=1))
        self.down = nn.ModuleList(_normed(width * 2**i, width * 2 ** (i + 1), 4, stride=2) for i in range(3))
        self.up = nn.ModuleList(_normed(width * 2 ** (i + 1), width * 2**i, 3) for i in (2, 1, 0))
        self.last = nn.ModuleList(_normed(width, width, 3) for _ in range(2))
        self.head = initialise(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        features = [_activated(self.stem(seen(image, blurred, self._conditional)))]
        for down in self.down:
            features.append(_activated(down(features[-1])))
        x, skips = features[-1], features[-2::-1]
        for up, skip in zip(self.up, skips, strict=True):
            larger = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = _activated(up(larger)) + skip
            features.append(x)
        for layer in self.last:
            x = _activated(layer(x))
        return DiscriminatorOutput([self.head(x)], features)


def _normed(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Module:
    convolution = initialise(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=1, bias=False))
    return spectral_norm(convolution)


def _activated(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
