"""PatchGAN."""

from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, Judgement
from deblurlab.models.blocks import Norm, normalisation


class PatchGAN(Discriminator):
    """Every logit judges one patch of the image: 70x70 pixels with 3 layers (Isola et al., "Image-to-Image
    Translation with Conditional Adversarial Networks", CVPR 2017, section 3.2.2 and appendix 6.1.2).

    `n_layers` convolutions of stride 2 (4x4, channels double from `width` up to 8 times that), then two of stride 1.
    Biases stay on beside instance norm, as in the original code; hence 2,764,737 parameters by default.
    Images are taken to [-1, 1] inside.

    Raises:
        ValueError: `n_layers` is not positive, or `norm` is unknown.
    """

    def __init__(self, *, n_layers: int = 3, width: int = 64, norm: Norm = "instance") -> None:
        super().__init__()
        if n_layers < 1:
            raise ValueError(f"n_layers is {n_layers}: a PatchGAN has at least 1")
        self.min_size = 3 * 2**n_layers
        widths = [width * min(2**i, 8) for i in range(n_layers + 1)]
        activation = nn.LeakyReLU(0.2)
        stages = [nn.Sequential(nn.Conv2d(3, width, 4, stride=2, padding=1), activation)]
        for i in range(n_layers):
            convolution = nn.Conv2d(
                widths[i], widths[i + 1], 4, stride=2 if i < n_layers - 1 else 1, padding=1, bias=norm != "batch"
            )
            stages.append(nn.Sequential(convolution, normalisation(norm, widths[i + 1]), activation))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Conv2d(widths[-1], 1, 4, padding=1)
        self.apply(_initialise)

    def forward(self, image: Tensor, blurred: Tensor) -> Judgement:
        x, features = 2 * image - 1, []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return Judgement([self.head(x)], features)


def _initialise(module: nn.Module) -> None:
    """N(0, 0.02), as in the original code."""
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
