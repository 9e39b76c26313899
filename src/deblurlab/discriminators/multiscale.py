"""Multi-scale discriminator of pix2pixHD."""

import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm
from deblurlab.discriminators.patchgan import PatchGAN


class Multiscale(Discriminator):
    """PatchGANs for the image at several sizes (Wang et al., "pix2pixHD", CVPR 2018, section 3.2).

    The first network receives the image at full size. Each following one receives it at half the size of the one before
    (3x3 average pooling of stride 2).

    `scales` is the number of sizes. Other arguments are those of `PatchGAN`.

    Raises:
        ValueError: `scales` or `n_layers` is not positive, `padding` is not 1 or 2, or `norm` is unknown.
    """

    small_arguments = {"width": 4}

    def __init__(
        self,
        *,
        scales: int = 2,
        n_layers: int = 3,
        width: int = 64,
        norm: Norm = "instance",
        padding: int = 2,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        if scales < 1:
            raise ValueError(f"scales is {scales}: it must be at least 1")
        self.scales = nn.ModuleList(
            PatchGAN(n_layers=n_layers, width=width, norm=norm, padding=padding, conditional=conditional)
            for _ in range(scales)
        )
        self.min_size = self.scales[0].min_size * 2 ** (scales - 1)

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        """Return the logits and features of all networks, those at full size first."""
        logits: list[Tensor] = []
        features: list[Tensor] = []
        for i, discriminator in enumerate(self.scales):
            if i > 0:
                image, blurred = _half_size(image), _half_size(blurred)
            output = discriminator(image, blurred)
            logits += output.logits
            features += output.features
        return DiscriminatorOutput(logits, features)


def _half_size(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
