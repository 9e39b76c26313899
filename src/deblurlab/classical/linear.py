"""Wiener filter (Wiener, 1949) and Wiener-Hunt filter (Orieux et al., JOSA A 2010)."""

import numpy as np
from scipy.fft import irfft2, rfft2
from skimage.restoration import unsupervised_wiener as _unsupervised

from deblurlab.classical.frequency import Array, extend_border, optical_transfer_function, validate_psf


def wiener(
    image: Array, psf: Array, *, k: float = 0.01, noise: Array | None = None, signal: Array | None = None,
    periodic: bool = False,
) -> Array:  # fmt: skip
    """Restore an image with the Wiener filter: `f = F^-1[ conj(H) / (|H|^2 + K) G ]`.

    G is the spectrum of the blurred image, H that of the psf, K the noise-to-signal power ratio. Wiener,
    "Extrapolation, Interpolation, and Smoothing of Stationary Time Series", 1949; Gonzalez and Woods, "Digital Image
    Processing", equation 5.8-6.

    Args:
        image: `(H, W)` or `(H, W, C)`; channels are restored independently.
        psf: `(k, k)`, sum 1.
        k: Ratio of noise power to signal power, the same at all frequencies.
        noise: Power spectrum of the noise, of the shape of the image's `rfft2`. With `signal` it replaces `k`, and it
            needs `periodic`.
        signal: Power spectrum of the signal.
        periodic: Treat the image as periodic; otherwise `extend_border` extends it first.

    Returns:
        The restored image, not clipped.

    Raises:
        ValueError: The psf is invalid, `k` is negative, or only one spectrum is given.
    """
    psf = validate_psf(image, psf)
    if (noise is None) != (signal is None):
        raise ValueError("noise and signal must be given together: both or none")
    if noise is not None and not periodic:
        raise ValueError(
            "noise and signal need periodic=True: otherwise the spectra don't have the extended image's size"
        )
    if not k >= 0:
        raise ValueError(f"k={k} must be at least 0")
    wide, inside = (image, (slice(None), slice(None))) if periodic else extend_border(image, psf)
    h = optical_transfer_function(psf, wide.shape[:2])
    ratio = k if noise is None or signal is None else noise / np.maximum(signal, 1e-12)
    inverse = np.conj(h) / (np.abs(h) ** 2 + ratio)
    planes = np.atleast_3d(wide)
    restored = irfft2(rfft2(planes, axes=(0, 1)) * inverse[..., None], planes.shape[:2], axes=(0, 1))
    return np.asarray(restored.reshape(wide.shape)[inside])


def unsupervised_wiener(image: Array, psf: Array, *, seed: int = 0) -> Array:
    """Restore an image with a Wiener-Hunt filter that estimates its own regularisation.

    Orieux, Giovannelli and Rodet, "Bayesian estimation of regularization and point spread function parameters for
    Wiener-Hunt deconvolution", JOSA A 2010; the implementation is scikit-image's. Channels are restored independently.

    Args:
        image: `(H, W)` or `(H, W, C)`.
        psf: `(k, k)`, sum 1.
        seed: Seed of the Gibbs sampler.

    Returns:
        The restored image, not clipped.

    Raises:
        ValueError: The psf is invalid.
    """
    psf = validate_psf(image, psf)
    wide, inside = extend_border(image, psf)
    planes = np.atleast_3d(wide)
    restored = [_unsupervised(plane, psf, clip=False, rng=seed)[0] for plane in np.moveaxis(planes, -1, 0)]
    return np.asarray(np.stack(restored, axis=-1).reshape(wide.shape)[inside])
