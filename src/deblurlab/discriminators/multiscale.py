"""pix2pixHD's discriminators."""

import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm
from deblurlab.discriminators.patchgan import PatchGAN


class Multiscale(Discriminator):
    """A PatchGAN for each of `scales` sizes of the image, from the full one down by halves (Wang et al.,
    "High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs", CVPR 2018, section 3.2). Other
    arguments as for `PatchGAN`.

    Raises:
        ValueError: `scales` or `n_layers` is not positive, or `norm` is unknown.
    """

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
            raise ValueError(f"scales is {scales}: there is at least the full one")
        self.scales = nn.ModuleList(
            PatchGAN(n_layers=n_layers, width=width, norm=norm, padding=padding, conditional=conditional)
            for _ in range(scales)
        )
        self.min_size = self.scales[0].min_size * 2 ** (scales - 1)

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        whole = DiscriminatorOutput([], [])
        for i, discriminator in enumerate(self.scales):
            if i > 0:
                image, blurred = _half(image), _half(blurred)
            judgement = discriminator(image, blurred)
            whole = DiscriminatorOutput(whole.logits + judgement.logits, whole.features + judgement.features)
        return whole


def _half(image: Tensor) -> Tensor:
    return F.avg_pool2d(image, 3, stride=2, padding=1, count_include_pad=False)
