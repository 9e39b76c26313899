"""Deconvolution needs the image to go on beyond its border; this makes it."""

import numpy as np
import numpy.typing as npt
from scipy.fft import next_fast_len, rfft2

Array = npt.NDArray[np.float64]
"""Images `(H, W, C)` or `(H, W)` in [0, 1]; kernels `(k, k)` summing to 1, whose middle is at `k // 2`."""


def checked(image: Array, psf: Array) -> Array:
    """The kernel, odd on both sides (padded if need be).

    Raises:
        ValueError: It isn't 2-D, isn't finite, has negative values, doesn't sum to 1, or is larger than the image.
    """
    psf = np.asarray(psf, np.float64)
    if psf.ndim != 2 or not np.isfinite(psf).all():
        raise ValueError(f"a psf is a matrix of numbers, not of shape {psf.shape}")
    if psf.min() < 0 or abs(psf.sum() - 1) > 1e-3:
        raise ValueError(f"a psf has no negative values and sums to 1, not to {psf.sum():.4g}")
    if psf.shape[0] > image.shape[0] or psf.shape[1] > image.shape[1]:
        raise ValueError(f"the psf {psf.shape} is larger than the image {image.shape[:2]}")
    return np.pad(psf, [(0, 1 - side % 2) for side in psf.shape])


def transfer(psf: Array, shape: tuple[int, int]) -> npt.NDArray[np.complex128]:
    """The optical transfer function: the kernel's spectrum, for `rfft2` of images of that shape, its middle at 0."""
    wide = np.zeros(shape)
    wide[: psf.shape[0], : psf.shape[1]] = psf
    return rfft2(np.roll(wide, [-(side // 2) for side in psf.shape], axis=(0, 1)))


def extended(image: Array, psf: Array) -> tuple[Array, tuple[slice, slice]]:
    """The image continued beyond its border by the kernel's size and more, so that its opposite sides meet smoothly;
    and where in it the image is.

    Mirrored, and blended with the other side's margin towards the outside, as an edge taper does: deconvolution in the
    frequency domain takes images for periodic, and a jump between their sides rings through all of them.
    """
    margins = [min(2 * side, length - 1) for side, length in zip(psf.shape, image.shape, strict=False)]
    lengths = [next_fast_len(n + 2 * m, real=True) for n, m in zip(image.shape, margins, strict=False)]
    pads = [(m, length - n - m) for m, length, n in zip(margins, lengths, image.shape, strict=False)]
    flat = [(0, 0)] * (image.ndim - 2)
    wide = np.pad(image, [*pads, *flat], mode="symmetric")
    for axis, ((before, after), n) in enumerate(zip(pads, image.shape, strict=False)):
        # 1 on the image, falling to 1/2 at the seam, where the two sides are blended half and half.
        ramp = np.linspace(0.5, 1, before, endpoint=False), np.ones(n), np.linspace(1, 0.5, after + 1)[1:]
        weight = np.concatenate(ramp).reshape([-1 if i == axis else 1 for i in range(wide.ndim)])
        wide = weight * wide + (1 - weight) * np.flip(wide, axis=axis)
    return wide, (slice(pads[0][0], pads[0][0] + image.shape[0]), slice(pads[1][0], pads[1][0] + image.shape[1]))
