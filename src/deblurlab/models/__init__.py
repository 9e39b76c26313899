"""Generators: networks from blurred to restored images, one file per architecture."""

from deblurlab.models.base import Model
from deblurlab.models.deepdeblur import DeepDeblur
from deblurlab.models.fpn_inception import FPNInception
from deblurlab.models.fpn_mobilenet import FPNMobileNet
from deblurlab.models.mimo_unet_plus import MIMOUNetPlus
from deblurlab.models.nafnet import NAFNet
from deblurlab.models.resnet import ResNet
from deblurlab.models.restormer import Restormer
from deblurlab.models.srn import SRN
from deblurlab.models.unet import UNet
from deblurlab.models.unet_res import UNetRes

__all__ = [
    "SRN",
    "DeepDeblur",
    "FPNInception",
    "FPNMobileNet",
    "MIMOUNetPlus",
    "Model",
    "NAFNet",
    "ResNet",
    "Restormer",
    "UNet",
    "UNetRes",
]
