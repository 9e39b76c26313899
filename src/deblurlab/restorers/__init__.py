"""Restorers: methods that turn a blurred image into a restored one."""

from deblurlab.restorers.base import BaseRestorer, Identity, Restored
from deblurlab.restorers.classical import Classical
from deblurlab.restorers.network import Checkpoint, Onnx
from deblurlab.restorers.psf import Estimate, File, Gaussian, NoPsf, Oracle, Psf

__all__ = [
    "BaseRestorer",
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
]
