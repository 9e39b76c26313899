"""PatchGAN discriminator."""

from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm, conv_block, initialise, network_input


class PatchGAN(Discriminator):
    """PatchGAN discriminator (Isola et al., "pix2pix", CVPR 2017, section 3.2.2 and appendix 6.1.2).

    Each logit classifies one patch of the image: 70x70 pixels with 3 layers, 286x286 with 5. `n_layers` convolutions
    4x4 of stride 2 are followed by two of stride 1. The first and the last convolution have no normalisation, except
    that "spectral" applies to the first. 2,764,737 parameters by default.

    Args:
        n_layers: Number of convolutions of stride 2.
        width: Channels of the first convolution; each following one has twice as many, up to 8 times `width`.
        norm: "none", "instance", "batch" or "spectral".
        padding: 1 as in pix2pix, or 2 as in DeblurGAN and pix2pixHD, where more patches overlap the borders.
        conditional: Whether the input is the image concatenated with the blurred image.

    Raises:
        ValueError: `n_layers` is not positive, `padding` is not 1 or 2, or `norm` is unknown.
    """

    small_arguments = {"width": 4, "n_layers": 1}

    def __init__(
        self,
        *,
        n_layers: int = 3,
        width: int = 64,
        norm: Norm = "instance",
        padding: int = 1,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        if n_layers < 1 or padding not in (1, 2):
            raise ValueError(f"n_layers={n_layers} must be at least 1 and padding={padding} 1 or 2")
        self.min_size = 3 * 2**n_layers if padding == 1 else 2
        self._conditional = conditional
        widths = [width * min(2**i, 8) for i in range(n_layers + 1)]
        first = norm if norm == "spectral" else "none"
        stages = [conv_block(6 if conditional else 3, width, first, stride=2, padding=padding)]
        for i in range(n_layers):
            stride = 2 if i < n_layers - 1 else 1
            stages.append(conv_block(widths[i], widths[i + 1], norm, stride=stride, padding=padding))
        self.stages = nn.ModuleList(stages)
        self.head = initialise(nn.Conv2d(widths[-1], 1, 4, padding=padding))

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        """Return one logit per patch and the activations of every layer but the last."""
        x, features = network_input(image, blurred, self._conditional), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return DiscriminatorOutput([self.head(x)], features)
