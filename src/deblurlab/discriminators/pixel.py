"""A discriminator without a neighbourhood."""

from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm, initialise, layer, seen


class Pixel(Discriminator):
    """Every logit judges one pixel, by its colour alone (the 1x1 PatchGAN of Isola et al., CVPR 2017, appendix 6.1.2).
    Arguments as for `PatchGAN`.

    Raises:
        ValueError: `norm` is unknown.
    """

    min_size = 2  # instance norm has nothing to say of a single pixel

    def __init__(self, *, width: int = 64, norm: Norm = "instance", conditional: bool = False) -> None:
        super().__init__()
        self._conditional = conditional
        first = norm if norm == "spectral" else "none"
        self.first = layer(6 if conditional else 3, width, first, kernel=1, padding=0)
        self.second = layer(width, 2 * width, norm, kernel=1, padding=0)
        self.head = initialise(nn.Conv2d(2 * width, 1, 1))

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        shallow = self.first(seen(image, blurred, self._conditional))
        deep = self.second(shallow)
        return DiscriminatorOutput([self.head(deep)], [shallow, deep])
