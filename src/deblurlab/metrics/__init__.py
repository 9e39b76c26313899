"""Image quality, each number with its protocol. Plain functions of tensors."""

from deblurlab.metrics.protocol import LOWER_IS_BETTER, METRICS, NO_REFERENCE, Protocol
from deblurlab.metrics.psnr import psnr
from deblurlab.metrics.sharpness import sharpness
from deblurlab.metrics.ssim import SMALLEST, ssim

__all__ = ["LOWER_IS_BETTER", "METRICS", "NO_REFERENCE", "SMALLEST", "Protocol", "psnr", "sharpness", "ssim"]
