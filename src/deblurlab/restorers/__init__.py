"""What turns blurred images into restored ones."""

from deblurlab.restorers.classical import Classical
from deblurlab.restorers.network import Checkpoint, Identity, Network, Onnx, Restored, Restorer
from deblurlab.restorers.psf import Estimate, File, Gaussian, NoPsf, Oracle, Psf

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
