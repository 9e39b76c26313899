"""Helpers of deconvolution in the frequency domain: psf checks, transfer functions, border extension."""

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len, rfft2

Array = npt.NDArray[np.float64]
"""Image `(H, W, C)` or `(H, W)` in [0, 1], or blur kernel `(h, w)` with sum 1 and centre `(h // 2, w // 2)`."""


def validate_psf(image: Array, psf: Array) -> Array:
    """Return the psf as float64, zero-padded to odd sides. It may be rectangular.

    Raises:
        ValueError: The psf isn't 2-D, isn't finite, has negative values, doesn't sum to 1, or is larger than the image.
    """
    psf = np.asarray(psf, np.float64)
    if psf.ndim != 2 or not np.isfinite(psf).all():
        raise ValueError(f"a psf must be a 2-D array of finite numbers; got shape {psf.shape}")
    if psf.min() < 0 or abs(psf.sum() - 1) > 1e-3:
        raise ValueError(f"a psf must have no negative values and sum to 1; got sum {psf.sum():.4g}")
    if psf.shape[0] > image.shape[0] or psf.shape[1] > image.shape[1]:
        raise ValueError(f"the psf {psf.shape} is larger than the image {image.shape[:2]}")
    return np.pad(psf, [(0, 1 - side % 2) for side in psf.shape])


def optical_transfer_function(psf: Array, shape: tuple[int, int]) -> npt.NDArray[np.complex128]:
    """Return the `rfft2` of the psf, zero-padded to `shape` and shifted so that its centre is at index 0."""
    padded = np.zeros(shape)
    padded[: psf.shape[0], : psf.shape[1]] = psf
    return rfft2(np.roll(padded, [-(side // 2) for side in psf.shape], axis=(0, 1)))


def extend_border(image: Array, psf: Array) -> tuple[Array, tuple[slice, slice]]:
    """Extend the image beyond its border so that it continues periodically without a jump.

    Deconvolution in the frequency domain treats images as periodic, and a jump between opposite sides causes ringing
    in the whole image. The margin is at least twice the size of the psf, filled by reflection and blended with the
    margin of the opposite side.

    Returns:
        The extended image and the slices that contain the original image.
    """
    margins = [min(2 * side, length - 1) for side, length in zip(psf.shape, image.shape, strict=False)]
    lengths = [next_fast_len(n + 2 * m, real=True) for n, m in zip(image.shape, margins, strict=False)]
    pads = [(m, length - n - m) for m, length, n in zip(margins, lengths, image.shape, strict=False)]
    no_pads = [(0, 0)] * (image.ndim - 2)
    wide = np.pad(image, [*pads, *no_pads], mode="symmetric")
    for axis, ((before, after), n) in enumerate(zip(pads, image.shape, strict=False)):
        # The weight is 1 on the image and falls to 1/2 at the outer edge, where the two sides meet.
        ramp = np.linspace(0.5, 1, before, endpoint=False), np.ones(n), np.linspace(1, 0.5, after + 1)[1:]
        weight = np.concatenate(ramp).reshape([-1 if i == axis else 1 for i in range(wide.ndim)])
        wide = weight * wide + (1 - weight) * np.flip(wide, axis=axis)
    return wide, (slice(pads[0][0], pads[0][0] + image.shape[0]), slice(pads[1][0], pads[1][0] + image.shape[1]))
