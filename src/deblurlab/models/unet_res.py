"""Residual U-Net."""

from deblurlab.models.base import Provenance
from deblurlab.models.blocks import ResidualBlock
from deblurlab.models.unet import UNet


class UNetRes(UNet):
    """U-Net of residual blocks: the generator of this project's reference method (docs/method.md).

    Arguments as for `UNet`. 4,730,211 parameters by default.
    """

    block = ResidualBlock
    provenance = (
        Provenance(
            title="residual U-Net: generator of the reference method",
            paper="method.md",
            arguments={"width": 32, "depth": 3, "blocks": 2, "patch": 1, "max_width": None},
        ),
        Provenance(title="residual U-Net", paper="method.md"),
    )
