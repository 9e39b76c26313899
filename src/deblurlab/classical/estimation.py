"""Blind estimation of uniform linear motion from the spectrum of a blurred image."""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from deblurlab.classical.frequency import Array
from deblurlab.classical.spectrum import TILE, log_spectrum, psf_spectrum, remove_radial_mean

_MIN_CORRELATION = 0.75
"""Minimum correlation of an accepted estimate; photographs without motion blur reach up to 0.7."""


class Motion(NamedTuple):
    """Uniform linear motion."""

    length: float
    """Pixels."""
    angle: float
    """Degrees in [0, 180), anticlockwise from the horizontal."""
    correlation: float
    """Correlation of the image's spectrum with that of this motion, at most 1."""


class EstimationError(Exception):
    """The psf can't be estimated from the image."""


def line_psf(length: float, angle: float) -> Array:
    """Return the psf of uniform linear motion.

    Args:
        length: Pixels.
        angle: Degrees, anticlockwise from the horizontal.
    """
    radius = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1))
    steps = max(1, round(16 * length))
    position = (np.arange(steps) + 0.5) / steps * length - length / 2
    x, y = radius + position * np.cos(np.deg2rad(angle)), radius - position * np.sin(np.deg2rad(angle))
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - i - (y - row)) * np.abs(1 - j - (x - column))
        np.add.at(kernel, (row + i, column + j), weight)
    return kernel / kernel.sum()


def estimate_motion(image: Array, *, max_length: float = 40.0) -> Motion:
    """Estimate length and angle of uniform linear motion.

    The logarithm of a blurred image's power spectrum is the sum of that of the sharp image, which is nearly isotropic,
    and that of the psf, |sin(pi L u) / (pi L u)|^2 for the frequency u along the motion and the length L. This is the
    decomposition of cepstral methods (Cannon, "Blind Deconvolution of Spatially Invariant Image Blurs with Phase", IEEE
    TASSP 1976). The log spectrum minus its mean at each radial frequency is correlated with that of every candidate.

    Args:
        image: `(H, W)` or `(H, W, C)`, at least 128 pixels on each side.
        max_length: Maximum length of the candidates in pixels.

    Raises:
        EstimationError: No candidate reaches the minimum correlation.
        ValueError: The image is too small.
    """
    grey = image.mean(axis=-1) if image.ndim == 3 else image
    if min(grey.shape) < TILE:
        raise ValueError(
            f"an image of {grey.shape[1]}x{grey.shape[0]} is too small to estimate motion: {TILE}x{TILE} at least"
        )
    spectrum = remove_radial_mean(log_spectrum(grey))
    lengths, angles = np.arange(3.0, max_length + 0.5), np.arange(0.0, 180.0, 4.0)
    best = _best_candidate(spectrum, lengths, angles)
    for step in (0.5, 0.25):
        near = best.length + step * np.arange(-3, 4), best.angle + 4 * step * np.arange(-3, 4)
        best = _best_candidate(spectrum, near[0][near[0] >= 2], near[1])
    if best.correlation < _MIN_CORRELATION:
        raise EstimationError(f"no uniform linear motion found (correlation {best.correlation:.2f})")
    return best._replace(angle=best.angle % 180)


def _best_candidate(spectrum: Array, lengths: npt.NDArray[Any], angles: npt.NDArray[Any]) -> Motion:
    """Return the motion with the highest correlation."""
    candidates = [(length, angle) for length in lengths.tolist() for angle in angles.tolist()]
    correlations = [float(_psf_spectrum(length, angle) @ spectrum) for length, angle in candidates]
    best = int(np.argmax(correlations))
    return Motion(*candidates[best], correlations[best])


@lru_cache(4096)
def _psf_spectrum(length: float, angle: float) -> Array:
    """Return the log power spectrum of a motion without its radial mean."""
    frequency = np.fft.fftfreq(TILE)
    projected = frequency[None] * np.cos(np.deg2rad(angle)) - frequency[:, None] * np.sin(np.deg2rad(angle))
    return psf_spectrum(np.sinc(length * projected) ** 2)
