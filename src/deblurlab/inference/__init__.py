"""What turns blurred images into restored ones."""

from deblurlab.inference.psf import Estimate, File, Gaussian, NoPsf, Oracle, Psf
from deblurlab.inference.restorers import Checkpoint, Classical, Identity, Onnx, Restored, Restorer

__all__ = [
    "Checkpoint",
    "Classical",
    "Estimate",
    "File",
    "Gaussian",
    "Identity",
    "NoPsf",
    "Onnx",
    "Oracle",
    "Psf",
    "Restored",
    "Restorer",
]
