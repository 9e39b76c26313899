"""Generators: networks blurred -> restored, one file per architecture."""

from deblurlab.models.base import Model
from deblurlab.models.unet import UNet
from deblurlab.models.unet_res import UNetRes

__all__ = ["Model", "UNet", "UNetRes"]
