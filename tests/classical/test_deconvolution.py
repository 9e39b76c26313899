"""The classical methods against formulas, scikit-image's own, and what they promise."""

from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve
from scipy.signal import convolve2d
from skimage import restoration

from deblurlab.classical import (
    line,
    non_local_means,
    richardson_lucy,
    total_variation,
    unsupervised_wiener,
    wiener,
)
from deblurlab.classical.frequency import extended
from support import blurred

RNG = np.random.default_rng(0)
PHOTO = skimage.data.astronaut()[100:260, 150:300].astype(float) / 255
PSF = line(7.0, 30.0)


def _psnr(image: np.ndarray, sharp: np.ndarray) -> float:
    return float(-10 * np.log10(((np.clip(image, 0, 1) - sharp) ** 2).mean()))


def _circular(image: np.ndarray, psf: np.ndarray) -> np.ndarray:
    return np.stack([convolve(image[..., c], psf, mode="wrap") for c in range(3)], axis=-1)


def test_wiener_undoes_a_known_circular_blur() -> None:
    """In floats, without noise: above 40 dB."""
    seen = _circular(PHOTO, PSF)
    assert _psnr(seen, PHOTO) < 27
    assert _psnr(wiener(seen, PSF, k=1e-6, periodic=True), PHOTO) > 40


def test_wiener_by_hand_in_the_frequency_domain() -> None:
    seen = RNG.random((8, 8))
    psf = np.array([[0.0, 0, 0], [0.5, 0.5, 0], [0, 0, 0]])  # the mean of a pixel and its right neighbour
    wide = np.zeros((8, 8))
    wide[0, 0] = wide[0, -1] = 0.5
    h, k = np.fft.fft2(wide), 0.05
    expected = np.fft.ifft2(np.conj(h) / (np.abs(h) ** 2 + k) * np.fft.fft2(seen)).real
    np.testing.assert_allclose(wiener(seen, psf, k=k, periodic=True), expected, atol=1e-12)


def test_wiener_is_scikit_images_on_its_own_example() -> None:
    """`skimage.restoration.wiener`'s docstring, with the identity for a regularisation operator."""
    camera = skimage.data.camera().astype(float) / 255
    psf = np.ones((5, 5)) / 25
    seen = convolve2d(camera, psf, "same")
    seen += 0.1 * seen.std() * np.random.default_rng(0).standard_normal(seen.shape)
    theirs = restoration.wiener(seen, psf, 0.1, reg=np.array([[1.0]]), clip=False)
    np.testing.assert_allclose(wiener(seen, psf, k=0.1, periodic=True), theirs, atol=1e-5)


def test_wiener_of_spectra_is_wiener_of_their_ratio() -> None:
    seen = RNG.random((16, 20))
    ones = np.ones((16, 11))
    np.testing.assert_allclose(
        wiener(seen, PSF, noise=0.02 * ones, signal=2 * ones, periodic=True), wiener(seen, PSF, k=0.01, periodic=True)
    )
    with pytest.raises(ValueError, match="give both or none"):
        wiener(seen, PSF, noise=ones, periodic=True)


def test_richardson_lucy_is_scikit_images_on_its_own_example() -> None:
    camera = skimage.data.camera().astype(float) / 255
    psf = np.ones((5, 5)) / 25
    seen = convolve2d(camera, psf, "same")
    seen += 0.1 * seen.std() * np.random.default_rng(0).standard_normal(seen.shape)
    seen = np.maximum(seen, 0)
    theirs = restoration.richardson_lucy(seen, psf, num_iter=5, clip=False)
    mine = richardson_lucy(seen, psf, iterations=5, clip=False, taper=False)
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_richardson_lucy_keeps_the_light_and_grows_likelier() -> None:
    """For an object in the dark, whose blur stays in the frame."""
    sharp = np.zeros((64, 64))
    sharp[24:40, 28:36] = RNG.random((16, 8))
    seen = convolve2d(sharp, PSF, "same")
    likelihoods, previous = [], None
    for iterations in (1, 2, 3, 5, 8, 13, 21):
        estimate = richardson_lucy(seen, PSF, iterations=iterations, clip=False, taper=False)
        assert estimate.sum() == pytest.approx(seen.sum(), rel=1e-3)
        assert estimate.min() >= -1e-9
        expected = np.maximum(convolve2d(estimate, PSF, "same"), 1e-12)
        likelihoods.append(float((seen * np.log(expected) - expected).sum()))
        previous = estimate
    assert likelihoods == sorted(likelihoods)
    assert previous is not None
    assert np.abs(previous - sharp).mean() < 0.6 * np.abs(seen - sharp).mean()


def test_total_variation_smooths_richardson_lucy() -> None:
    seen = np.clip(blurred(PHOTO, PSF) + 0.02 * RNG.standard_normal(PHOTO.shape), 0, 1)
    plain, smooth = (richardson_lucy(seen, PSF, iterations=60, tv=tv) for tv in (0.0, 0.01))
    variation = [np.abs(np.diff(image, axis=0)).mean() for image in (plain, smooth)]
    assert variation[1] < 0.9 * variation[0]
    assert _psnr(smooth, PHOTO) > _psnr(plain, PHOTO)


METHODS = {
    "wiener": lambda image, psf: wiener(image, psf, k=0.02),
    "unsupervised_wiener": unsupervised_wiener,
    "richardson_lucy": lambda image, psf: richardson_lucy(image, psf, iterations=20),
    "total_variation": lambda image, psf: total_variation(image, psf, weight=0.003),
    "non_local_means": lambda image, psf: non_local_means(image, psf, k=0.01),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_sharpens_a_photograph_that_does_not_repeat_beyond_its_border(name: str) -> None:
    seen = np.clip(blurred(PHOTO, PSF) + 0.01 * RNG.standard_normal(PHOTO.shape), 0, 1)
    restored = METHODS[name](seen, PSF)
    assert restored.shape == seen.shape
    assert _psnr(restored, PHOTO) > _psnr(seen, PHOTO) + 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("psf", "message"),
    [
        (np.ones((3, 3)), "sums to 1, not to 9"),
        (np.array([[-1.0, 2.0, 0.0]]), "has no negative values"),
        (np.full((3, 3), np.nan), "matrix of numbers"),
        (np.ones((400, 3)) / 1200, "larger than the image"),
    ],
)
def test_what_is_no_kernel_is_refused(name: str, psf: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        METHODS[name](PHOTO, psf)


@pytest.mark.parametrize("name", METHODS)
def test_kernels_of_even_sides_do_not_shift_the_image(name: str) -> None:
    """Padded to odd sides, a kernel of one pixel is the identity (but for what denoisers do)."""
    psf = np.zeros((4, 4))
    psf[2, 2] = 1.0
    restored = METHODS[name](PHOTO, psf)
    assert _psnr(restored, PHOTO) > 30
    shifted = _psnr(np.roll(restored, 1, axis=0), PHOTO)
    assert _psnr(restored, PHOTO) > shifted + 3


def test_an_image_goes_on_smoothly_beyond_its_border() -> None:
    image = np.linspace(0, 1, 40)[:, None] * np.ones((40, 30))
    wide, (rows, columns) = extended(image, PSF)
    assert np.array_equal(wide[rows, columns], image)
    assert np.abs(np.diff(np.vstack([wide, wide[:1]]), axis=0)).max() < 0.1  # no jump, not where its sides meet either


def test_denoisers_go_without_a_kernel() -> None:
    noisy = np.clip(PHOTO + 0.08 * RNG.standard_normal(PHOTO.shape), 0, 1)
    for method in (lambda image: non_local_means(image, None), lambda image: total_variation(image, None, weight=0.08)):
        assert _psnr(method(noisy), PHOTO) > _psnr(noisy, PHOTO) + 1.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wiener(PHOTO, PSF, k=-1), "k=-1 must be at least 0"),
        (lambda: richardson_lucy(PHOTO, PSF, iterations=2.5), "iterations=2.5 must be a whole number"),  # type: ignore[arg-type]
        (lambda: richardson_lucy(PHOTO, PSF, tv=-1), "tv=-1 must be at least 0"),
        (lambda: total_variation(PHOTO, PSF, weight=0), "weight=0 must be more than 0"),
        (lambda: total_variation(PHOTO, PSF, iterations=-3), "iterations=-3 must be a whole number"),
        (lambda: wiener(PHOTO, PSF, noise=PHOTO, signal=PHOTO), "are for periodic=True"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
