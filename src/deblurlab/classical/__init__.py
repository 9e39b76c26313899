"""Restoration without learning: plain functions of (image, psf). NumPy, SciPy and scikit-image."""

from deblurlab.classical.deep_prior import deep_image_prior
from deblurlab.classical.estimation import EstimationError, line, motion
from deblurlab.classical.iterative import non_local_means, richardson_lucy, total_variation
from deblurlab.classical.linear import unsupervised_wiener, wiener

__all__ = [
    "EstimationError",
    "deep_image_prior",
    "line",
    "motion",
    "non_local_means",
    "richardson_lucy",
    "total_variation",
    "unsupervised_wiener",
    "wiener",
]
