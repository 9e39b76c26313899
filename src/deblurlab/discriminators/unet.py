"""U-Net discriminator of Real-ESRGAN."""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import initialise, network_input


class UNet(Discriminator):
    """U-Net discriminator with spectral norm (Wang et al., "Real-ESRGAN", ICCVW 2021, section 3.4).

    It has one logit per pixel. The features are halved in size three times; skip connections add. 4,376,897 parameters
    by default.

    Args:
        width: Channels at full size; each halving doubles them.
        conditional: As in `PatchGAN`.
    """

    small_arguments = {"width": 4}
    min_size = 8

    def __init__(self, *, width: int = 64, conditional: bool = False) -> None:
        super().__init__()
        self._conditional = conditional
        self.stem = initialise(nn.Conv2d(6 if conditional else 3, width, 3, padding=1))
        self.down = nn.ModuleList(_spectral_conv(width * 2**i, width * 2 ** (i + 1), 4, stride=2) for i in range(3))
        self.up = nn.ModuleList(_spectral_conv(width * 2 ** (i + 1), width * 2**i, 3) for i in (2, 1, 0))
        self.last = nn.ModuleList(_spectral_conv(width, width, 3) for _ in range(2))
        self.head = initialise(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        """Return one logit per pixel and the activations of encoder and decoder."""
        features = [_leaky_relu(self.stem(network_input(image, blurred, self._conditional)))]
        for down in self.down:
            features.append(_leaky_relu(down(features[-1])))
        x, skips = features[-1], features[-2::-1]
        for up, skip in zip(self.up, skips, strict=True):
            larger = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = _leaky_relu(up(larger)) + skip
            features.append(x)
        for layer in self.last:
            x = _leaky_relu(layer(x))
        return DiscriminatorOutput([self.head(x)], features)


def _spectral_conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Module:
    convolution = initialise(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=1, bias=False))
    return spectral_norm(convolution)


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)
