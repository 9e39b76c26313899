"""The Wiener filter."""

import numpy as np
from scipy.fft import irfft2, rfft2
from skimage.restoration import unsupervised_wiener as _unsupervised

from deblurlab.classical.frequency import Array, checked, extended, transfer


def wiener(
    image: Array, psf: Array, *, k: float = 0.01, noise: Array | None = None, signal: Array | None = None,
    periodic: bool = False,
) -> Array:  # fmt: skip
    """`F^-1[ conj(H) / (|H|^2 + K) G ]`, with the spectra G of the image and H of the kernel.

    Wiener, "Extrapolation, Interpolation, and Smoothing of Stationary Time Series" (1949); Gonzalez and Woods, "Digital
    Image Processing", equation 5.8-6.

    Args:
        image: `(H, W)` or `(H, W, C)`; every channel is restored by itself.
        psf: `(k, k)`, summing to 1.
        k: The ratio of the power of noise to that of the signal, at all frequencies.
        noise: Its power spectrum, of the shape of the image's `rfft2`, instead of `k`; then `signal` as well, and
            `periodic`.
        periodic: The image goes on at its opposite side; otherwise it is continued as `extended` does.

    Returns:
        The restored image, not clipped.

    Raises:
        ValueError: The kernel is none, `k` is negative, or one spectrum is given without the other.
    """
    psf = checked(image, psf)
    if (noise is None) != (signal is None):
        raise ValueError("the spectra of noise and signal go together: give both or none")
    if noise is not None and not periodic:
        raise ValueError("spectra of noise and signal are for periodic=True: elsewhere the image is made larger")
    if not k >= 0:
        raise ValueError(f"k={k} must be at least 0")
    wide, inside = (image, (slice(None), slice(None))) if periodic else extended(image, psf)
    h = transfer(psf, wide.shape[:2])
    ratio = k if noise is None or signal is None else noise / np.maximum(signal, 1e-12)
    inverse = np.conj(h) / (np.abs(h) ** 2 + ratio)
    planes = np.atleast_3d(wide)
    restored = irfft2(rfft2(planes, axes=(0, 1)) * inverse[..., None], planes.shape[:2], axes=(0, 1))
    return np.asarray(restored.reshape(wide.shape)[inside])


def unsupervised_wiener(image: Array, psf: Array, *, seed: int = 0) -> Array:
    """A Wiener-Hunt filter that estimates its own regularisation (Orieux, Giovannelli and Rodet, JOSA A 2010), by
    scikit-image; every channel by itself. Arguments and result as for `wiener`."""
    psf = checked(image, psf)
    wide, inside = extended(image, psf)
    planes = np.atleast_3d(wide)
    restored = [_unsupervised(plane, psf, clip=False, rng=seed)[0] for plane in np.moveaxis(planes, -1, 0)]
    return np.asarray(np.stack(restored, axis=-1).reshape(wide.shape)[inside])
