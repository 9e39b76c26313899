"""Discriminators: networks that judge images, one file per idea."""

from deblurlab.discriminators.base import Discriminator, Judgement
from deblurlab.discriminators.patchgan import PatchGAN

__all__ = ["Discriminator", "Judgement", "PatchGAN"]
