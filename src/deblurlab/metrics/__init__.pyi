from .names import LOWER_IS_BETTER as LOWER_IS_BETTER
from .names import NO_REFERENCE as NO_REFERENCE
from .protocol import METRICS as METRICS
from .protocol import Protocol as Protocol
from .psnr import psnr as psnr
from .sharpness import sharpness as sharpness
from .ssim import SSIM_WINDOW as SSIM_WINDOW
from .ssim import ssim as ssim
