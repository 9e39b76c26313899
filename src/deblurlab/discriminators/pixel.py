"""Pixel discriminator."""

from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm, conv_block, initialise, network_input


class Pixel(Discriminator):
    """PixelGAN discriminator, the 1x1 PatchGAN (Isola et al., "pix2pix", CVPR 2017, appendix 6.1.2).

    Each logit classifies one pixel by its colour.

    Args:
        width: Channels of the first convolution; the second has twice as many.
        norm: As in `PatchGAN`.
        conditional: As in `PatchGAN`.

    Raises:
        ValueError: `norm` is unknown.
    """

    small_arguments = {"width": 4}
    min_size = 2  # instance norm is undefined for a single pixel

    def __init__(self, *, width: int = 64, norm: Norm = "instance", conditional: bool = False) -> None:
        super().__init__()
        self._conditional = conditional
        first = norm if norm == "spectral" else "none"
        self.first = conv_block(6 if conditional else 3, width, first, kernel=1, padding=0)
        self.second = conv_block(width, 2 * width, norm, kernel=1, padding=0)
        self.head = initialise(nn.Conv2d(2 * width, 1, 1))

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        """Return one logit per pixel and the activations of both hidden layers."""
        shallow = self.first(network_input(image, blurred, self._conditional))
        deep = self.second(shallow)
        return DiscriminatorOutput([self.head(deep)], [shallow, deep])
