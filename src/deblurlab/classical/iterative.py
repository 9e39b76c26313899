"""Iterative methods: Richardson-Lucy, total variation, non-local means."""

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.signal import fftconvolve
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from deblurlab.classical.frequency import Array, extend_border, optical_transfer_function, validate_psf
from deblurlab.classical.linear import wiener


def richardson_lucy(
    image: Array, psf: Array, *, iterations: int = 30, tv: float = 0.0, clip: bool = True, taper: bool = True
) -> Array:
    """Restore an image with Richardson-Lucy iterations: `f <- f * (h(-x) conv (g / (h conv f)))`.

    They converge to the maximum-likelihood image under Poisson noise, for the blurred image g and the psf h
    (Richardson, JOSA 1972; Lucy, Astronomical Journal 1974). With `tv` each step is divided by
    `1 - tv * div(grad f / |grad f|)`, total variation regularisation (Dey et al., Microscopy Research and Technique
    2006, equation 11).

    Args:
        image: `(H, W)` or `(H, W, C)`, not negative; channels are restored independently.
        psf: `(k, k)`, sum 1.
        iterations: More iterations give a sharper and noisier image.
        tv: Strength of the regularisation, such as 0.002; 0 for none.
        clip: Clip the result to [0, 1].
        taper: Extend the image beyond its border first (see `extend_border`); otherwise it is zero there.

    Raises:
        ValueError: The psf is invalid, `iterations` is less than 1, or `tv` is negative.
    """
    psf = validate_psf(image, psf)
    _check_positive("iterations", iterations)
    if not tv >= 0:
        raise ValueError(f"tv={tv} must be at least 0")
    wide, inside = extend_border(image, psf) if taper else (image, (slice(None), slice(None)))
    observed = np.atleast_3d(np.maximum(wide, 0))
    kernel, mirrored = psf[..., None], psf[::-1, ::-1, None]
    estimate = np.full(observed.shape, 0.5)
    for _ in range(iterations):
        expected = fftconvolve(estimate, kernel, mode="same", axes=(0, 1)) + 1e-12
        step = fftconvolve(observed / expected, mirrored, mode="same", axes=(0, 1))
        if tv:
            step /= np.maximum(1 - tv * _curvature(estimate), 1e-3)
        estimate = estimate * step
    restored = estimate.reshape(wide.shape)[inside]
    return np.clip(restored, 0, 1) if clip else restored


def total_variation(image: Array, psf: Array | None, *, weight: float = 0.002, iterations: int = 50) -> Array:
    """Restore an image with total variation: the minimum over f of `|h conv f - g|^2 / 2 + weight * TV(f)`.

    TV is the isotropic total variation (Rudin, Osher and Fatemi, Physica D 1992) of each channel. The minimum is found
    by ADMM on the image gradient: the variable splitting of Wang, Yang, Yin and Zhang ("A New Alternating Minimization
    Algorithm for Total Variation Image Reconstruction", SIAM J. Imaging Sciences 2008) with multipliers, as in Chan,
    Khoshabeh, Gibson, Gill and Nguyen (IEEE TIP 2011). The penalty parameter is fixed at `20 * weight`.

    Args:
        image: `(H, W)` or `(H, W, C)`; channels are restored independently.
        psf: `(k, k)`, sum 1; None denoises the image with scikit-image's `denoise_tv_chambolle`.
        weight: Strength of the regularisation; a larger weight gives a smoother image.
        iterations: Number of ADMM iterations.

    Returns:
        The restored image, not clipped.

    Raises:
        ValueError: The psf is invalid, `weight` isn't positive, or `iterations` is less than 1.
    """
    _check_positive("iterations", iterations)
    if not weight > 0:
        raise ValueError(f"weight={weight} must be more than 0")
    if psf is None:
        return np.asarray(denoise_tv_chambolle(image, weight=weight, channel_axis=-1 if image.ndim == 3 else None))
    psf = validate_psf(image, psf)
    wide, inside = extend_border(image, psf)
    planes = np.atleast_3d(wide)
    shape = planes.shape[:2]
    rho = 20 * weight
    h = optical_transfer_function(psf, shape)[..., None]
    dx, dy = (
        optical_transfer_function(np.array(kernel, float), shape)[..., None]
        for kernel in ([[0, -1, 1]], [[0], [-1], [1]])
    )
    data_term = np.conj(h) * rfft2(planes, axes=(0, 1))
    system = np.abs(h) ** 2 + rho * (np.abs(dx) ** 2 + np.abs(dy) ** 2)
    duals = np.zeros((2, *planes.shape))
    split = np.zeros_like(duals)
    spectrum = data_term / system
    for _ in range(iterations):
        gradient = np.stack([irfft2(d * spectrum, shape, axes=(0, 1)) for d in (dx, dy)])
        shifted = gradient + duals
        length = np.sqrt((shifted**2).sum(axis=0, keepdims=True))
        split = shifted * np.maximum(1 - weight / rho / np.maximum(length, 1e-12), 0)
        duals = shifted - split
        adjoint = sum(np.conj(d) * rfft2(s - u, axes=(0, 1)) for d, s, u in zip((dx, dy), split, duals, strict=True))
        spectrum = (data_term + rho * adjoint) / system
    return np.asarray(irfft2(spectrum, shape, axes=(0, 1)).reshape(wide.shape)[inside])


def non_local_means(image: Array, psf: Array | None, *, k: float = 0.005, strength: float = 0.8) -> Array:
    """Denoise an image with non-local means, after a Wiener filter if there is a psf.

    `f(x) = sum_y w(x, y) g(y) / sum_y w(x, y)` with `w(x, y) = exp(-d(x, y)^2 / h^2)`, where d is the distance of the
    patches around x and y (Buades, Coll and Morel, "A non-local algorithm for image denoising", CVPR 2005); the
    implementation is scikit-image's, with 5x5 patches in windows of 13x13 pixels. With a psf, `wiener(k=k)` deblurs the
    image first, and non-local means remove the noise that it amplifies.

    Args:
        image: `(H, W, C)`.
        psf: `(k, k)`, sum 1, or None.
        k: Noise-to-signal power ratio of the Wiener filter.
        strength: h in standard deviations of the noise, which is estimated from the image.

    Raises:
        ValueError: The psf is invalid.
    """
    sharpened = image if psf is None else np.clip(wiener(image, psf, k=k), 0, 1)
    sigma = _estimate_noise(sharpened)
    denoised = denoise_nl_means(
        sharpened, h=strength * sigma, sigma=sigma, patch_size=5, patch_distance=6, fast_mode=True, channel_axis=-1
    )
    return np.asarray(denoised, np.float64)


def _check_positive(name: str, count: int) -> None:
    """Raise ValueError if `count` isn't a positive integer."""
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"{name}={count} must be an integer, at least 1")


def _estimate_noise(image: Array) -> float:
    """Return the standard deviation of the noise, the median of |finest diagonal Haar coefficients| / 0.6745.

    Donoho and Johnstone, Biometrika 1994.
    """
    diagonal = (image[:-1, :-1] - image[1:, :-1] - image[:-1, 1:] + image[1:, 1:]) / 2
    return float(np.median(np.abs(diagonal)) / 0.6745)


def _curvature(image: Array) -> Array:
    """Return the divergence of the normalised image gradient."""
    down, right = (np.diff(image, axis=axis, append=np.take(image, [-1], axis)) for axis in (0, 1))
    length = np.sqrt(down**2 + right**2 + 1e-6)
    down, right = down / length, right / length
    return np.diff(down, axis=0, prepend=0) + np.diff(right, axis=1, prepend=0)
