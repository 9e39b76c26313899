"""The paper's generator."""

from deblurlab.models.blocks import ResidualBlock
from deblurlab.models.unet import UNet


class UNetRes(UNet):
    """A U-Net whose stages are residual blocks (section 3.2.1 of the paper). Arguments as for `UNet`."""

    block = ResidualBlock
