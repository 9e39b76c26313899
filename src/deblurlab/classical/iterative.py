"""Methods that approach their result step by step."""

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.signal import fftconvolve
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle

from deblurlab.classical.frequency import Array, checked, extended, transfer
from deblurlab.classical.linear import wiener


def richardson_lucy(
    image: Array, psf: Array, *, iterations: int = 30, tv: float = 0.0, clip: bool = True, taper: bool = True
) -> Array:
    """`f <- f * (h(-x) conv (g / (h conv f)))`: the likeliest image under Poisson noise.

    Richardson (JOSA 1972), Lucy (Astronomical Journal 1974); with `tv` each step is divided by
    `1 - tv div(grad f / |grad f|)`, total variation regularisation (Dey et al., Microscopy Research and Technique
    2006, equation 11).

    Args:
        image: `(H, W)` or `(H, W, C)`, not negative; every channel is restored by itself.
        psf: `(k, k)`, summing to 1.
        iterations: More are sharper, and noisier.
        tv: Strength of the regularisation, such as 0.002.
        clip: The result to [0, 1].
        taper: Continue the image beyond its border first (see `extended`); otherwise it is taken for black there.

    Raises:
        ValueError: The kernel is none, or there are no iterations.
    """
    psf = checked(image, psf)
    _check_positive("iterations", iterations)
    if not tv >= 0:
        raise ValueError(f"tv={tv} must be at least 0")
    wide, inside = extended(image, psf) if taper else (image, (slice(None), slice(None)))
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
    """The minimum over f of `|h conv f - g|^2 / 2 + weight * TV(f)`, where TV is the isotropic total variation (Rudin,
    Osher and Fatemi, Physica D 1992), by splitting f's gradient off (Wang et al., "A New Alternating Minimization
    Algorithm for Total Variation Image Reconstruction", SIAM J. Imaging Sciences 2008, with multipliers: ADMM).

    Args:
        image: `(H, W)` or `(H, W, C)`; every channel is restored by itself.
        psf: `(k, k)`, summing to 1; without one the image is denoised, by scikit-image.
        weight: More is smoother.
        iterations: Of the splitting.

    Returns:
        The restored image, not clipped.

    Raises:
        ValueError: The kernel is none, or a number is out of range.
    """
    _check_positive("iterations", iterations)
    if not weight > 0:
        raise ValueError(f"weight={weight} must be more than 0")
    if psf is None:
        return np.asarray(denoise_tv_chambolle(image, weight=weight, channel_axis=-1 if image.ndim == 3 else None))
    psf = checked(image, psf)
    wide, inside = extended(image, psf)
    planes = np.atleast_3d(wide)
    shape = planes.shape[:2]
    rho = 20 * weight
    h = transfer(psf, shape)[..., None]
    dx, dy = (transfer(np.array(kernel, float), shape)[..., None] for kernel in ([[0, -1, 1]], [[0], [-1], [1]]))
    data = np.conj(h) * rfft2(planes, axes=(0, 1))
    system = np.abs(h) ** 2 + rho * (np.abs(dx) ** 2 + np.abs(dy) ** 2)
    duals = np.zeros((2, *planes.shape))
    split = np.zeros_like(duals)
    spectrum = data / system
    for _ in range(iterations):
        gradient = np.stack([irfft2(d * spectrum, shape, axes=(0, 1)) for d in (dx, dy)])
        moved = gradient + duals
        length = np.sqrt((moved**2).sum(axis=0, keepdims=True))
        split = moved * np.maximum(1 - weight / rho / np.maximum(length, 1e-12), 0)
        duals = moved - split
        back = sum(np.conj(d) * rfft2(s - u, axes=(0, 1)) for d, s, u in zip((dx, dy), split, duals, strict=True))
        spectrum = (data + rho * back) / system
    return np.asarray(irfft2(spectrum, shape, axes=(0, 1)).reshape(wide.shape)[inside])


def non_local_means(image: Array, psf: Array | None, *, k: float = 0.005, strength: float = 0.8) -> Array:
    """Means over patches that look alike (Buades, Coll and Morel, CVPR 2005), by scikit-image: a denoiser. With a
    kernel, the image goes through `wiener(k=k)` first, whose amplified noise is what is then removed.

    Args:
        image: `(H, W, C)`.
        strength: Of the smoothing, in standard deviations of the noise that is found in the image.
    """
    sharpened = image if psf is None else np.clip(wiener(image, psf, k=k), 0, 1)
    sigma = _noise(sharpened)
    denoised = denoise_nl_means(
        sharpened, h=strength * sigma, sigma=sigma, patch_size=5, patch_distance=6, fast_mode=True, channel_axis=-1
    )
    return np.asarray(denoised, np.float64)


def _check_positive(name: str, count: int) -> None:
    """A count is one."""
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"{name}={count} must be a whole number, at least 1")


def _noise(image: Array) -> float:
    """The standard deviation of the noise: the median of the finest diagonal Haar coefficients, which images hardly
    have (Donoho and Johnstone, Biometrika 1994)."""
    diagonal = (image[:-1, :-1] - image[1:, :-1] - image[:-1, 1:] + image[1:, 1:]) / 2
    return float(np.median(np.abs(diagonal)) / 0.6745)


def _curvature(image: Array) -> Array:
    """The divergence of the image's normalised gradient."""
    down, right = (np.diff(image, axis=axis, append=np.take(image, [-1], axis)) for axis in (0, 1))
    length = np.sqrt(down**2 + right**2 + 1e-6)
    down, right = down / length, right / length
    return np.diff(down, axis=0, prepend=0) + np.diff(right, axis=1, prepend=0)
