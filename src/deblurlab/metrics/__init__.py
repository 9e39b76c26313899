"""Image quality metrics, and the protocols that define how they are computed."""

from deblurlab.metrics.base import ImageMetric
from deblurlab.metrics.info import MetricInfo
from deblurlab.metrics.kid import KID
from deblurlab.metrics.measurement import Measurement, SetMeasurement
from deblurlab.metrics.perceptual import DISTS, LPIPS
from deblurlab.metrics.protocol import Protocol
from deblurlab.metrics.psnr import PSNR, PSNRY, psnr
from deblurlab.metrics.sharpness import Sharpness, sharpness
from deblurlab.metrics.ssim import SSIM, SSIMY, SSIMMatlabRGB, ssim

__all__ = [
    "DISTS",
    "KID",
    "LPIPS",
    "PSNR",
    "PSNRY",
    "SSIM",
    "SSIMY",
    "ImageMetric",
    "Measurement",
    "MetricInfo",
    "Protocol",
    "SSIMMatlabRGB",
    "SetMeasurement",
    "Sharpness",
    "psnr",
    "sharpness",
    "ssim",
]
