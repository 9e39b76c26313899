"""Restoration without training data: functions of (image, psf) on NumPy arrays.

Images are float64 `(H, W, C)` or `(H, W)` in [0, 1], blur kernels (psf) `(k, k)` with sum 1.
"""

from deblurlab.classical.deep_prior import deep_image_prior
from deblurlab.classical.estimation import EstimationError, estimate_motion, line_psf
from deblurlab.classical.iterative import non_local_means, richardson_lucy, total_variation
from deblurlab.classical.linear import unsupervised_wiener, wiener

__all__ = [
    "EstimationError",
    "deep_image_prior",
    "estimate_motion",
    "line_psf",
    "non_local_means",
    "richardson_lucy",
    "total_variation",
    "unsupervised_wiener",
    "wiener",
]
