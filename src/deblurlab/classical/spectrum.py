"""Log power spectrum of a blurred image without its radial mean, and its correlation with that of a psf."""

from functools import cache

import numpy as np
from scipy.fft import fft2

from deblurlab.classical.frequency import Array

TILE = 128
"""Side of the tiles whose spectra are averaged, in pixels."""


def log_spectrum(grey: Array) -> Array:
    """Return the mean log power spectrum of overlapping tiles (Welch's method), `(128, 128)`."""
    window = np.outer(np.hanning(TILE), np.hanning(TILE))
    powers = []
    for y in np.unique(np.linspace(0, grey.shape[0] - TILE, 2 * grey.shape[0] // TILE).astype(int)):
        for x in np.unique(np.linspace(0, grey.shape[1] - TILE, 2 * grey.shape[1] // TILE).astype(int)):
            tile = grey[y : y + TILE, x : x + TILE]
            powers.append(np.abs(fft2((tile - tile.mean()) * window)) ** 2)
    # The mean of logarithms, so that tiles of high contrast don't dominate.
    return np.asarray(np.log(np.array(powers) + 1e-4).mean(axis=0))


def psf_spectrum(power: Array) -> Array:
    """Return the log of a psf's power spectrum, `(128, 128)`, without its radial mean."""
    # The constant models noise and the window, which limit the depth of the zeros.
    return remove_radial_mean(np.log(power + 0.01))


def correlate_psf(spectrum: Array, psf: Array) -> float:
    """Return the correlation, at most 1, of a psf's spectrum with that of an image.

    Args:
        spectrum: `remove_radial_mean(log_spectrum(image))`.
        psf: At most 128 pixels on each side.
    """
    return float(psf_spectrum(np.abs(fft2(psf, (TILE, TILE))) ** 2) @ spectrum)


def remove_radial_mean(spectrum: Array) -> Array:
    """Return the used frequencies minus their mean at each radial frequency, normalised to unit length."""
    radius, used = _used_frequencies()
    values = spectrum.ravel()[used]
    means = np.bincount(radius, values) / np.maximum(np.bincount(radius), 1)
    residual = values - means[radius]
    return np.asarray(residual / max(float(np.linalg.norm(residual)), 1e-12))


@cache
def _used_frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Return the radius of every used frequency in bins, and its index in the flattened spectrum."""
    frequency = np.fft.fftfreq(TILE)
    distance = np.hypot(frequency[:, None], frequency).ravel()
    # Frequencies on the axes are dominated by the window and the borders of the image.
    axes = (np.abs(frequency[:, None]) < 1.5 / TILE) | (np.abs(frequency) < 1.5 / TILE)
    half = np.broadcast_to(frequency[:, None] >= 0, (TILE, TILE)).ravel()  # the spectrum is symmetric
    used = np.flatnonzero((distance > 0.02) & (distance < 0.45) & half & ~axes.ravel())
    return (distance[used] * TILE).astype(int), used
