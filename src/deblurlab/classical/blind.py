"""Blind estimation of a uniform psf from one blurred image, with L0-regularised gradients, coarse to fine."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.sparse.linalg import LinearOperator, cg

from deblurlab.classical.estimation import EstimationError, estimate_motion, line_psf
from deblurlab.classical.frequency import Array, extend_border, optical_transfer_function
from deblurlab.classical.spectrum import TILE, correlate_psf, log_spectrum, remove_radial_mean

_CROP = 512
"""Maximum side of the part of the image that is used, in pixels."""
_SCALE = 2**0.5
"""Ratio of the resolutions of successive levels."""
_COARSEST = 5
"""Maximum side of the psf at the coarsest level."""
_ITERATIONS = 10
"""Alternations of image and psf at each level."""
_WEIGHT, _MIN_WEIGHT, _DECAY = 5e-3, 1e-4, 1.05
"""Weight of the L0 term: at first, at last, and the divisor after each alternation."""
_MAX_PENALTY = 1e3
"""Last penalty of the half-quadratic splitting, which is doubled from twice the L0 weight on."""
_PSF_WEIGHT = 2.0
"""Weight of the psf's squared norm."""
_THRESHOLD = 0.1
"""Values of the psf below this fraction of its maximum are removed, and connected parts with less than this share."""
_GOOD_CORRELATION, _MIN_CORRELATION = 0.85, 0.75
"""Minimum correlation of a line, below which a larger psf is tried, too; minimum correlation of any estimate."""

Plane = npt.NDArray[np.floating]


class PsfEstimate(NamedTuple):
    """Estimate of a uniform psf."""

    psf: Array
    """`(k, k)`, k odd, sum 1, its centroid in the centre."""
    correlation: float
    """Correlation of the image's spectrum with that of the psf, at most 1."""


def estimate_psf(image: Array, *, longest: int = 31) -> PsfEstimate:
    """Estimate the psf of uniform blur of any shape.

    Minimises `|k conv x - y|^2 + w |grad x|_0 + g |k|^2` over the image x and the psf k, in alternation and from coarse
    to fine: the algorithm of Pan, Hu, Su and Yang, "Deblurring Text Images via L0-Regularized Intensity and Gradient
    Prior" (CVPR 2014) without the term on intensity, which models text. What remains is close to Xu, Zheng and Jia,
    "Unnatural L0 Sparse Representation for Natural Image Deblurring" (CVPR 2013). x is not a restored image.

    An independent criterion checks the estimate: the correlation of the image's spectrum with that of the psf, as in
    `estimate_motion`. The line of `estimate_motion` is returned if its correlation is higher, and a second, larger size
    of k is tried if the correlation is low.

    Args:
        image: `(H, W)` or `(H, W, C)`, at least 128 pixels on each side, in the values in which the blur is linear. At
            most 512x512 pixels of it are used, those with the most texture.
        longest: Maximum extent of the psf in pixels, approximately.

    Raises:
        EstimationError: The image has no edges, or no estimate reaches the minimum correlation.
        ValueError: The image is too small, or `longest` isn't between 5 and 60.
    """
    if not 5 <= longest <= 60:
        raise ValueError(f"longest={longest} must be between 5 and 60 pixels")
    grey = image.mean(axis=-1) if image.ndim == 3 else image
    if min(grey.shape) < TILE:
        raise ValueError(
            f"an image of {grey.shape[1]}x{grey.shape[0]} is too small to estimate a psf: {TILE}x{TILE} at least"
        )
    grey = crop_texture(grey, _CROP)
    spectrum = remove_radial_mean(log_spectrum(grey))
    psf = _alternate(grey, _odd(0.8 * longest))
    best = PsfEstimate(psf, correlate_psf(spectrum, psf))
    with suppress(EstimationError):  # the motion isn't straight
        psf = line_psf(*estimate_motion(grey, max_length=longest)[:2])
        # Below that, the spectrum of an unblurred photograph can resemble that of a short line.
        if (correlation := correlate_psf(spectrum, psf)) >= max(best.correlation, _GOOD_CORRELATION):
            best = PsfEstimate(psf, correlation)
    if best.correlation < _GOOD_CORRELATION:
        with suppress(EstimationError):
            psf = _alternate(grey, _odd(1.6 * longest))
            best = max(best, PsfEstimate(psf, correlate_psf(spectrum, psf)), key=lambda estimate: estimate.correlation)
    if best.correlation < _MIN_CORRELATION:
        raise EstimationError(f"no uniform blur found (correlation {best.correlation:.2f})")
    return best._replace(psf=_crop_support(best.psf))


def crop_texture(grey: Array, side: int) -> Array:
    """Return the part of an image, at most `side` pixels high and wide, with the largest mean gradient."""
    strength = ndimage.sobel(grey, 0) ** 2 + ndimage.sobel(grey, 1) ** 2
    sums = np.sqrt(strength).cumsum(0).cumsum(1)
    sums = np.pad(sums, [(1, 0), (1, 0)])
    height, width = min(side, grey.shape[0]), min(side, grey.shape[1])
    totals = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    y, x = np.unravel_index(np.argmax(totals), totals.shape)
    return grey[y : y + height, x : x + width]


def shrink_l0(dx: Plane, dy: Plane, threshold: float) -> tuple[Plane, Plane]:
    """Return the minimum over (u, v) of `(u - dx)^2 + (v - dy)^2 + threshold [(u, v) != 0]` at each pixel."""
    kept = dx**2 + dy**2 > threshold
    return dx * kept, dy * kept


def sharpen_edges(blurred: Plane, psf: Array, weight: float) -> Plane:
    """Return the image of few edges: the minimum over x of `|k conv x - y|^2 + weight |grad x|_0`, approximately.

    Half-quadratic splitting: auxiliary gradients (u, v) with the penalty b `|grad x - (u, v)|^2`, and b is doubled.
    For fixed b, `shrink_l0` gives (u, v), and x solves a linear equation that is diagonal in the frequency domain
    (Pan et al., section 3).

    Args:
        blurred: y, `(H, W)`, periodic.
        psf: k, `(k, k)`.
        weight: Of the L0 term.
    """
    shape = blurred.shape
    h, right, down = (
        optical_transfer_function(np.array(kernel, float), shape).astype(np.complex64)
        for kernel in (psf, [[0, -1, 1]], [[0], [-1], [1]])
    )
    data_term, data_power = np.conj(h) * rfft2(blurred), np.abs(h) ** 2
    gradient_power = np.abs(right) ** 2 + np.abs(down) ** 2
    x, penalty = blurred, 2 * weight
    while penalty < _MAX_PENALTY:
        u, v = shrink_l0(*gradient(x), weight / penalty)
        adjoint = np.roll(u, 1, 1) - u + np.roll(v, 1, 0) - v
        x = irfft2((data_term + penalty * rfft2(adjoint)) / (data_power + penalty * gradient_power), shape)
        penalty *= 2
    return x


def solve_psf(edges: Sequence[Plane], blurred: Sequence[Plane], side: int, start: Array) -> Array:
    """Return the minimum over k of `sum_i |k conv e_i - b_i|^2 + g |k|^2`, of `side` pixels and any sign.

    The normal equations hold within the support of k only: their matrix is block Toeplitz, made of the autocorrelation
    of the edges. They are solved by conjugate gradients.

    Args:
        edges: Derivatives e of the sharp image, periodic.
        blurred: Derivatives b of the blurred image.
        side: Side of the psf in pixels, odd.
        start: Initial value, `(side, side)`.
    """
    shape, radius = edges[0].shape, side // 2
    spectra = [rfft2(plane) for plane in edges]
    auto = irfft2(sum(np.abs(e) ** 2 for e in spectra), shape).astype(np.float64)
    cross = irfft2(sum(np.conj(e) * rfft2(b) for e, b in zip(spectra, blurred, strict=True)), shape)
    near, far = np.arange(-radius, radius + 1), np.arange(-2 * radius, 2 * radius + 1)
    fast = (next_fast_len(len(far), real=True),) * 2
    transfer = rfft2(auto[np.ix_(far, far)], fast)

    def multiply(psf: Array) -> Array:
        product = irfft2(transfer * rfft2(psf.reshape(side, side), fast), fast)
        return product[2 * radius : len(far), 2 * radius : len(far)].ravel() + _PSF_WEIGHT * psf

    matrix = LinearOperator((side**2, side**2), matvec=multiply, dtype=np.float64)
    solution, _ = cg(matrix, cross[np.ix_(near, near)].astype(np.float64).ravel(), start.ravel(), rtol=1e-4, maxiter=50)
    return solution.reshape(side, side)


def gradient(image: Plane) -> tuple[Plane, Plane]:
    """Return the forward differences of a periodic image: to the right and down."""
    return np.roll(image, -1, 1) - image, np.roll(image, -1, 0) - image


def _alternate(grey: Array, side: int) -> Array:
    """Return the psf of `side` pixels that the alternation finds, coarse to fine."""
    levels = 0
    while side / _SCALE**levels > _COARSEST:
        levels += 1
    psf, weight = np.ones((1, 1)), _WEIGHT
    for level in range(levels, -1, -1):
        level_side = _odd(side / _SCALE**level)
        scale = _SCALE**-level
        image = np.asarray(cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float64)
        psf = _resize(psf, level_side) if psf.size > 1 else _delta(level_side)
        wide, inside = extend_border(image, np.empty((level_side // 2 + 1,) * 2))
        wide = wide.astype(np.float32)
        window = np.zeros_like(wide)
        window[inside] = 1
        observed = [plane * window for plane in gradient(wide)]
        for _ in range(_ITERATIONS):
            edges = [plane * window for plane in gradient(sharpen_edges(wide, psf, weight))]
            psf = _normalise(solve_psf(edges, observed, level_side, psf))
            weight = max(weight / _DECAY, _MIN_WEIGHT)
    return psf


def _normalise(psf: Array) -> Array:
    """Return a psf without small and negative values and small unconnected parts, centred, sum 1.

    Raises:
        EstimationError: Nothing is left.
    """
    if not psf.max() > 0:
        raise EstimationError("no uniform blur found: the image has no edges")
    psf = np.where(psf < _THRESHOLD * psf.max(), 0, psf)
    parts, count = ndimage.label(psf, np.ones((3, 3)))
    shares = ndimage.sum_labels(psf, parts, range(count + 1)) / psf.sum()
    psf = psf * ((shares >= _THRESHOLD) | (shares == shares.max()))[parts]
    return _centre(psf / psf.sum())


def _centre(psf: Array) -> Array:
    """Return a psf shifted so that its centroid is in the centre, by bilinear interpolation."""
    y, x = np.mgrid[: psf.shape[0], : psf.shape[1]] - psf.shape[0] // 2
    psf = ndimage.shift(psf, (-(psf * y).sum(), -(psf * x).sum()), order=1)
    return psf / psf.sum()


def _resize(psf: Array, side: int) -> Array:
    """Return a psf of the next finer level."""
    fine = cv2.resize(psf, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_LINEAR)
    fine = np.pad(fine, [(0, 1 - fine.shape[0] % 2)] * 2)
    excess = (fine.shape[0] - side) // 2
    fine = fine[excess : excess + side, excess : excess + side] if excess > 0 else np.pad(fine, -excess)
    return _centre(fine / fine.sum())


def _odd(side: float) -> int:
    return 2 * int(side / 2) + 1


def _delta(side: int) -> Array:
    psf = np.zeros((side, side))
    psf[side // 2, side // 2] = 1
    return psf


def _crop_support(psf: Array) -> Array:
    """Return the central part of a psf that contains all values above 0, with odd sides."""
    y, x = np.nonzero(psf)
    radius = max(np.abs(y - psf.shape[0] // 2).max(), np.abs(x - psf.shape[1] // 2).max())
    inside = slice(psf.shape[0] // 2 - radius, psf.shape[0] // 2 + radius + 1)
    return psf[inside, inside]
