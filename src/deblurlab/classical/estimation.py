"""Blind: the kernel of straight, even motion from the blurred image alone."""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import fft2

from deblurlab.classical.frequency import Array

_TILE = 128
_TRUST = 0.75
"""Least correlation that is believed: photographs without such blur reach up to 0.7."""


class Motion(NamedTuple):
    """Straight motion."""

    length: float
    """In pixels."""
    angle: float
    """In degrees, 0..180, anticlockwise from the horizontal."""
    trust: float
    """Correlation with what such motion does to a spectrum, at most 1."""


class EstimationError(Exception):
    """The image shows no straight motion that could be told from its own structure."""


def line(length: float, angle: float) -> Array:
    """The kernel of straight, even motion: a line of so many pixels at an angle in degrees, anticlockwise."""
    reach = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    steps = max(1, round(16 * length))
    along = (np.arange(steps) + 0.5) / steps * length - length / 2
    x, y = reach + along * np.cos(np.deg2rad(angle)), reach - along * np.sin(np.deg2rad(angle))
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - down - (y - row)) * np.abs(1 - across - (x - column))
        np.add.at(kernel, (row + down, column + across), weight)
    return kernel / kernel.sum()


def motion(image: Array, *, longest: float = 40.0) -> Motion:
    """Length and angle of the motion whose zeros are in the image's spectrum.

    The logarithm of a blurred image's power spectrum is that of the sharp one, which falls off alike in all
    directions, plus that of the kernel, |sin(pi L u) / (pi L u)|^2 along the motion: the same decomposition that the
    cepstrum rests on (Cannon, "Blind Deconvolution of Spatially Invariant Image Blurs with Phase", IEEE TASSP 1976).
    What is left of it after the mean of each frequency's ring is taken away is compared with what each length and angle
    would leave.

    Args:
        image: `(H, W)` or `(H, W, C)`, at least 128 on each side.
        longest: Of the lengths that are tried.

    Raises:
        EstimationError: Nothing fits.
        ValueError: The image is too small.
    """
    grey = image.mean(axis=-1) if image.ndim == 3 else image
    if min(grey.shape) < _TILE:
        raise ValueError(
            f"an image of {grey.shape[1]}x{grey.shape[0]} is too small to estimate motion: {_TILE} at least"
        )
    spectrum = _without_rings(_log_spectrum(grey))
    lengths, angles = np.arange(3.0, longest + 0.5), np.arange(0.0, 180.0, 4.0)
    best = _fit(spectrum, lengths, angles)
    for step in (0.5, 0.25):
        near = best.length + step * np.arange(-3, 4), best.angle + 4 * step * np.arange(-3, 4)
        best = _fit(spectrum, near[0][near[0] >= 2], near[1])
    if best.trust < _TRUST:
        raise EstimationError(f"no straight motion is to be seen (correlation {best.trust:.2f})")
    return best._replace(angle=best.angle % 180)


def _log_spectrum(grey: Array) -> Array:
    """The logarithm of the power spectrum, averaged over overlapping tiles (Welch), `(128, 128)`."""
    window = np.outer(np.hanning(_TILE), np.hanning(_TILE))
    powers = []
    for y in np.unique(np.linspace(0, grey.shape[0] - _TILE, 2 * grey.shape[0] // _TILE).astype(int)):
        for x in np.unique(np.linspace(0, grey.shape[1] - _TILE, 2 * grey.shape[1] // _TILE).astype(int)):
            tile = grey[y : y + _TILE, x : x + _TILE]
            powers.append(np.abs(fft2((tile - tile.mean()) * window)) ** 2)
    # The mean of logarithms: tiles with much contrast don't outweigh the others.
    return np.asarray(np.log(np.array(powers) + 1e-4).mean(axis=0))


def _fit(spectrum: Array, lengths: npt.NDArray[Any], angles: npt.NDArray[Any]) -> Motion:
    candidates = [(length, angle) for length in lengths.tolist() for angle in angles.tolist()]
    scores = [float(_expected(length, angle) @ spectrum) for length, angle in candidates]
    best = int(np.argmax(scores))
    return Motion(*candidates[best], scores[best])


@lru_cache(4096)
def _expected(length: float, angle: float) -> Array:
    frequency = np.fft.fftfreq(_TILE)
    along = frequency[None] * np.cos(np.deg2rad(angle)) - frequency[:, None] * np.sin(np.deg2rad(angle))
    # Zeros are as deep as noise and the window let them be.
    return _without_rings(np.log(np.sinc(length * along) ** 2 + 0.01))


def _without_rings(spectrum: Array) -> Array:
    """Less the mean at each distance from 0, of unit length; frequencies that say nothing are left out."""
    ring, used = _rings()
    values = spectrum.ravel()[used]
    means = np.bincount(ring, values) / np.maximum(np.bincount(ring), 1)
    left = values - means[ring]
    return np.asarray(left / max(float(np.linalg.norm(left)), 1e-12))


@cache
def _rings() -> tuple[np.ndarray, np.ndarray]:
    frequency = np.fft.fftfreq(_TILE)
    distance = np.hypot(frequency[:, None], frequency).ravel()
    axes = (np.abs(frequency[:, None]) < 1.5 / _TILE) | (np.abs(frequency) < 1.5 / _TILE)  # the window's, and borders'
    half = np.broadcast_to(frequency[:, None] >= 0, (_TILE, _TILE)).ravel()  # the other half is the same
    used = np.flatnonzero((distance > 0.02) & (distance < 0.45) & half & ~axes.ravel())
    return (distance[used] * _TILE).astype(int), used
