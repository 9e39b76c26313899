"""Discriminators, one file per network."""

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.discriminators.double import Double
from deblurlab.discriminators.multiscale import Multiscale
from deblurlab.discriminators.patchgan import PatchGAN
from deblurlab.discriminators.pixel import Pixel
from deblurlab.discriminators.unet import UNet

__all__ = ["Discriminator", "DiscriminatorOutput", "Double", "Multiscale", "PatchGAN", "Pixel", "UNet"]
