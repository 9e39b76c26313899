"""PatchGAN."""

from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm, initialise, layer, seen


class PatchGAN(Discriminator):
    """Every logit judges one patch of the image: 70x70 pixels with 3 layers, 286x286 with 5 (Isola et al.,
    "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017, section 3.2.2 and appendix 6.1.2).

    `n_layers` convolutions of stride 2 (4x4, channels double from `width` up to 8 times that), then two of stride 1;
    neither the first nor the last is followed by `norm`. 2,764,737 parameters by default. `padding` is 1 as in pix2pix,
    or 2 as in DeblurGAN and pix2pixHD, which judges the borders more often. A `conditional` one sees
    the blurred image beside the one it judges. Images are taken to [-1, 1] inside.

    Raises:
        ValueError: `n_layers` is not positive, `padding` not 1 or 2, or `norm` is unknown.
    """

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
        stages = [layer(6 if conditional else 3, width, first, stride=2, padding=padding)]
        for i in range(n_layers):
            stages.append(layer(widths[i], widths[i + 1], norm, stride=2 if i < n_layers - 1 else 1, padding=padding))
        self.stages = nn.ModuleList(stages)
        self.head = initialise(nn.Conv2d(widths[-1], 1, 4, padding=padding))

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        x, features = seen(image, blurred, self._conditional), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return DiscriminatorOutput([self.head(x)], features)
