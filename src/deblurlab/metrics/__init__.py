"""Image quality, each number with its protocol. Plain functions of tensors."""

from deblurlab.metrics.measuring import LOWER_IS_BETTER, METRICS, PROTOCOL, Protocol
from deblurlab.metrics.psnr import psnr
from deblurlab.metrics.ssim import SMALLEST, ssim

__all__ = ["LOWER_IS_BETTER", "METRICS", "PROTOCOL", "SMALLEST", "Protocol", "psnr", "ssim"]
