"""Double-scale discriminator of DeblurGAN-v2."""

from torch import Tensor

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.layers import Norm
from deblurlab.discriminators.patchgan import PatchGAN


class Double(Discriminator):
    """PatchGANs for patches and for the whole image (Kupyn et al., "DeblurGAN-v2", ICCV 2019, section 3.2).

    With 3 layers a patch has 70x70 pixels; with 5 it covers the whole crop of 256x256.

    `patch_layers` and `full_layers` are `n_layers` of the two networks. Other arguments are those of `PatchGAN`.

    Raises:
        ValueError: A number of layers is not positive, `padding` is not 1 or 2, or `norm` is unknown.
    """

    small_arguments = {"width": 4, "patch_layers": 1, "full_layers": 2}

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
        """Return the logits and features of both networks, those for patches first."""
        patch, full = self.patch(image, blurred), self.full(image, blurred)
        return DiscriminatorOutput(patch.logits + full.logits, patch.features + full.features)
