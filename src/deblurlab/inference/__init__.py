"""What turns blurred images into restored ones."""

from deblurlab.inference.methods import Classical
from deblurlab.inference.psf import Estimate, File, Gaussian, NoPsf, Oracle, Psf
from deblurlab.inference.restorers import Checkpoint, Identity, Network, Onnx, Restored, Restorer

__all__ = [
    "Checkpoint",
    "Classical",
    "Estimate",
    "File",
    "Gaussian",
    "Identity",
    "Network",
    "NoPsf",
    "Onnx",
    "Oracle",
    "Psf",
    "Restored",
    "Restorer",
]
