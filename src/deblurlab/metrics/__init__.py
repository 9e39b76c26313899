"""Image quality metrics, and the protocols that define how they are computed."""

from deblurlab.metrics.protocol import LOWER_IS_BETTER, METRICS, NO_REFERENCE, Protocol
from deblurlab.metrics.psnr import psnr
from deblurlab.metrics.sharpness import sharpness
from deblurlab.metrics.ssim import SSIM_WINDOW, ssim

__all__ = ["LOWER_IS_BETTER", "METRICS", "NO_REFERENCE", "SSIM_WINDOW", "Protocol", "psnr", "sharpness", "ssim"]
