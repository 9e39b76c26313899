"""DeblurGAN-v2's two discriminators."""

from torch import Tensor

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm
from deblurlab.discriminators.patchgan import PatchGAN


class Double(Discriminator):
    """One PatchGAN for patches and one whose patches are as large as the image (Kupyn et al., "DeblurGAN-v2", ICCV
    2019, section 3.2: 70x70 pixels with 3 layers, the whole 256x256 crop with 5). Arguments as for `PatchGAN`."""

    def __init__(
        self,
        *,
        patch_layers: int = 3,
        full_layers: int = 5,
        width: int = 64,
        norm: Norm = "instance",
        padding: int = 2,
        conditional: bool = False,
    ) -> None:
        super().__init__()
        self.patch = PatchGAN(n_layers=patch_layers, width=width, norm=norm, padding=padding, conditional=conditional)
        self.full = PatchGAN(n_layers=full_layers, width=width, norm=norm, padding=padding, conditional=conditional)
        self.min_size = max(self.patch.min_size, self.full.min_size)

    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        patch, full = self.patch(image, blurred), self.full(image, blurred)
        return DiscriminatorOutput(patch.logits + full.logits, patch.features + full.features)
