"""Loss terms, one file each. The loss of a training run is their weighted sum."""

from deblurlab.losses.adv import Adv
from deblurlab.losses.adv_hinge import AdvHinge
from deblurlab.losses.adv_ls import AdvLS
from deblurlab.losses.adv_ra_ls import AdvRaLS
from deblurlab.losses.adv_wgan_gp import AdvWGANGP
from deblurlab.losses.base import AdversarialLoss, DiscriminatorLoss, LossTerm
from deblurlab.losses.charbonnier import Charbonnier
from deblurlab.losses.cycle import Cycle
from deblurlab.losses.edge import Edge
from deblurlab.losses.feature_matching import FeatureMatching
from deblurlab.losses.fft import FFT
from deblurlab.losses.focal_frequency import FocalFrequency
from deblurlab.losses.identity import Identity
from deblurlab.losses.l1 import L1
from deblurlab.losses.lpips import LPIPS
from deblurlab.losses.ms_ssim import MSSSIM
from deblurlab.losses.mse import MSE
from deblurlab.losses.psnr import PSNR
from deblurlab.losses.ssim import SSIM
from deblurlab.losses.tv import TV
from deblurlab.losses.vgg import VGG

__all__ = [
    "FFT",
    "L1",
    "LPIPS",
    "MSE",
    "MSSSIM",
    "PSNR",
    "SSIM",
    "TV",
    "VGG",
    "Adv",
    "AdvHinge",
    "AdvLS",
    "AdvRaLS",
    "AdvWGANGP",
    "AdversarialLoss",
    "Charbonnier",
    "Cycle",
    "DiscriminatorLoss",
    "Edge",
    "FeatureMatching",
    "FocalFrequency",
    "Identity",
    "LossTerm",
]
