"""Tests of the classical methods against formulas, scikit-image and known properties."""

from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve
from scipy.signal import convolve2d
from skimage import restoration

from deblurlab.classical import (
    line_psf,
    non_local_means,
    richardson_lucy,
    total_variation,
    unsupervised_wiener,
    wiener,
)
from deblurlab.classical.frequency import extend_border
from support import blurred

RNG = np.random.default_rng(0)
PHOTO = skimage.data.astronaut()[100:260, 150:300].astype(float) / 255
PSF = line_psf(7.0, 30.0)


def _psnr(image: np.ndarray, sharp: np.ndarray) -> float:
    return float(-10 * np.log10(((np.clip(image, 0, 1) - sharp) ** 2).mean()))


def _circular(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    return np.stack([convolve(image[..., c], psf, mode="wrap") for c in range(3)], axis=-1)


def test_wiener_inverts_a_known_circular_blur() -> None:
    """Without noise and rounding the PSNR exceeds 40 dB."""
    observed = _circular(PHOTO, PSF)
    assert _psnr(observed, PHOTO) < 27
    assert _psnr(wiener(observed, PSF, k=1e-6, periodic=True), PHOTO) > 40


def test_wiener_equals_the_formula_in_the_frequency_domain() -> None:
    observed = RNG.random((8, 8))
    psf = np.array([[0.0, 0, 0], [0.5, 0.5, 0], [0, 0, 0]])  # the mean of a pixel and its right neighbour
    wide = np.zeros((8, 8))
    wide[0, 0] = wide[0, -1] = 0.5
    h, k = np.fft.fft2(wide), 0.05
    expected = np.fft.ifft2(np.conj(h) / (np.abs(h) ** 2 + k) * np.fft.fft2(observed)).real
    np.testing.assert_allclose(wiener(observed, psf, k=k, periodic=True), expected, atol=1e-12)


def test_wiener_equals_scikit_image() -> None:
    """The example of `skimage.restoration.wiener`, with the identity as regularisation operator."""
    camera = skimage.data.camera().astype(float) / 255
    psf = np.ones((5, 5)) / 25
    observed = convolve2d(camera, psf, "same")
    observed += 0.1 * observed.std() * np.random.default_rng(0).standard_normal(observed.shape)
    expected = restoration.wiener(observed, psf, 0.1, reg=np.array([[1.0]]), clip=False)
    np.testing.assert_allclose(wiener(observed, psf, k=0.1, periodic=True), expected, atol=1e-5)


def test_wiener_with_flat_spectra_equals_wiener_with_their_ratio() -> None:
    observed = RNG.random((16, 20))
    ones = np.ones((16, 11))
    np.testing.assert_allclose(
        wiener(observed, PSF, noise=0.02 * ones, signal=2 * ones, periodic=True),
        wiener(observed, PSF, k=0.01, periodic=True),
    )
    with pytest.raises(ValueError, match="both or none"):
        wiener(observed, PSF, noise=ones, periodic=True)


def test_richardson_lucy_equals_scikit_image() -> None:
    camera = skimage.data.camera().astype(float) / 255
    psf = np.ones((5, 5)) / 25
    observed = convolve2d(camera, psf, "same")
    observed += 0.1 * observed.std() * np.random.default_rng(0).standard_normal(observed.shape)
    observed = np.maximum(observed, 0)
    expected = restoration.richardson_lucy(observed, psf, num_iter=5, clip=False)
    restored = richardson_lucy(observed, psf, iterations=5, clip=False, taper=False)
    np.testing.assert_allclose(restored, expected, atol=1e-5)


def test_richardson_lucy_preserves_the_sum_and_increases_the_likelihood() -> None:
    """The image is black at the border, so that its blur stays inside."""
    sharp = np.zeros((64, 64))
    sharp[24:40, 28:36] = RNG.random((16, 8))
    observed = convolve2d(sharp, PSF, "same")
    likelihoods, previous = [], None
    for iterations in (1, 2, 3, 5, 8, 13, 21):
        estimate = richardson_lucy(observed, PSF, iterations=iterations, clip=False, taper=False)
        assert estimate.sum() == pytest.approx(observed.sum(), rel=1e-3)
        assert estimate.min() >= -1e-9
        expected = np.maximum(convolve2d(estimate, PSF, "same"), 1e-12)
        likelihoods.append(float((observed * np.log(expected) - expected).sum()))
        previous = estimate
    assert likelihoods == sorted(likelihoods)
    assert previous is not None
    assert np.abs(previous - sharp).mean() < 0.6 * np.abs(observed - sharp).mean()


def test_tv_regularisation_smooths_richardson_lucy() -> None:
    observed = np.clip(blurred(PHOTO, PSF) + 0.02 * RNG.standard_normal(PHOTO.shape), 0, 1)
    plain, regularised = (richardson_lucy(observed, PSF, iterations=60, tv=tv) for tv in (0.0, 0.01))
    variation = [np.abs(np.diff(image, axis=0)).mean() for image in (plain, regularised)]
    assert variation[1] < 0.9 * variation[0]
    assert _psnr(regularised, PHOTO) > _psnr(plain, PHOTO)


METHODS = {
    "wiener": lambda image, psf: wiener(image, psf, k=0.02),
    "unsupervised_wiener": unsupervised_wiener,
    "richardson_lucy": lambda image, psf: richardson_lucy(image, psf, iterations=20),
    "total_variation": lambda image, psf: total_variation(image, psf, weight=0.003),
    "non_local_means": lambda image, psf: non_local_means(image, psf, k=0.01),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_improves_a_photograph_with_non_periodic_border(name: str) -> None:
    observed = np.clip(blurred(PHOTO, PSF) + 0.01 * RNG.standard_normal(PHOTO.shape), 0, 1)
    restored = METHODS[name](observed, PSF)
    assert restored.shape == observed.shape
    assert _psnr(restored, PHOTO) > _psnr(observed, PHOTO) + 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("psf", "message"),
    [
        (np.ones((3, 3)), "sum to 1; got sum 9"),
        (np.array([[-1.0, 2.0, 0.0]]), "must have no negative values"),
        (np.full((3, 3), np.nan), "2-D array of finite numbers"),
        (np.ones((400, 3)) / 1200, "larger than the image"),
    ],
)
def test_invalid_psf_raises(name: str, psf: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        METHODS[name](PHOTO, psf)


@pytest.mark.parametrize("name", METHODS)
def test_psf_of_even_size_does_not_shift_the_image(name: str) -> None:
    """A psf of one pixel is the identity after padding to odd sides, except for denoising."""
    psf = np.zeros((4, 4))
    psf[2, 2] = 1.0
    restored = METHODS[name](PHOTO, psf)
    assert _psnr(restored, PHOTO) > 30
    shifted = _psnr(np.roll(restored, 1, axis=0), PHOTO)
    assert _psnr(restored, PHOTO) > shifted + 3


def test_extended_image_has_no_jump_between_opposite_sides() -> None:
    image = np.linspace(0, 1, 40)[:, None] * np.ones((40, 30))
    wide, (rows, columns) = extend_border(image, PSF)
    assert np.array_equal(wide[rows, columns], image)
    assert np.abs(np.diff(np.vstack([wide, wide[:1]]), axis=0)).max() < 0.1  # the last row is followed by the first


def test_denoisers_accept_no_psf() -> None:
    noisy = np.clip(PHOTO + 0.08 * RNG.standard_normal(PHOTO.shape), 0, 1)
    for method in (lambda image: non_local_means(image, None), lambda image: total_variation(image, None, weight=0.08)):
        assert _psnr(method(noisy), PHOTO) > _psnr(noisy, PHOTO) + 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wiener(PHOTO, PSF, k=-1), "k=-1 must be at least 0"),
        (lambda: richardson_lucy(PHOTO, PSF, iterations=2.5), "iterations=2.5 must be an integer"),  # type: ignore[arg-type]
        (lambda: richardson_lucy(PHOTO, PSF, tv=-1), "tv=-1 must be at least 0"),
        (lambda: total_variation(PHOTO, PSF, weight=0), "weight=0 must be more than 0"),
        (lambda: total_variation(PHOTO, PSF, iterations=-3), "iterations=-3 must be an integer"),
        (lambda: wiener(PHOTO, PSF, noise=PHOTO, signal=PHOTO), "need periodic=True"),
    ],
)
def test_invalid_numbers_raise(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
