"""Tests of blind psf estimation: steps against direct computation, whole estimates against the true psf."""

import itertools

import numpy as np
import pytest
import skimage.data
from scipy.signal import fftconvolve

from deblurlab.classical import EstimationError, blind, estimate_psf, line_psf
from deblurlab.classical.blind import crop_texture, gradient, sharpen_edges, shrink_l0, solve_psf
from deblurlab.media.srgb import srgb_to_linear
from deblurlab.synthesis import Synthesis
from support import blurred

SHAKES = Synthesis(blur_length=(3, 15), rotation=(0, 0), objects=(0, 0), softness=(0, 0))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the maximum over shifts of the normalised cross-correlation."""
    return float(fftconvolve(a, b[::-1, ::-1]).max() / (np.linalg.norm(a) * np.linalg.norm(b)))


def _shaken(photo: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph blurred by camera shake, with noise, in linear light, and its psf."""
    shaken, _, parameters = SHAKES.photo_pair(np.random.default_rng(seed), photo)
    return srgb_to_linear(shaken / 255), np.array(parameters.psf)


@pytest.mark.parametrize(("name", "seed"), [("chelsea", 0), ("coffee", 1), ("chelsea", 2)])
def test_psf_of_a_shaken_photograph_is_found(name: str, seed: int) -> None:
    image, psf = _shaken(getattr(skimage.data, name)()[:300, :400], seed)
    estimated = estimate_psf(image)
    assert _correlation(estimated.psf, psf) > 0.8


def test_straight_motion_is_found() -> None:
    photo = skimage.data.coffee()[:300, :400] / 255
    estimated = estimate_psf(blurred(srgb_to_linear(photo), line_psf(12, 30)))
    assert _correlation(estimated.psf, line_psf(12, 30)) > 0.95


def test_estimate_is_a_centred_psf() -> None:
    """The sum is 1, no value is negative, the sides are odd, and the centroid is in the centre."""
    image, _ = _shaken(skimage.data.chelsea()[:300, :400], 3)
    psf, correlation = estimate_psf(image)
    assert psf.sum() == pytest.approx(1)
    assert psf.min() >= 0
    assert psf.shape[0] == psf.shape[1]
    assert psf.shape[0] % 2 == 1
    y, x = np.mgrid[: psf.shape[0], : psf.shape[1]] - psf.shape[0] // 2
    assert (psf * y).sum() == pytest.approx(0, abs=0.1)
    assert (psf * x).sum() == pytest.approx(0, abs=0.1)
    assert 0.75 <= correlation <= 1


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_unblurred_photograph_raises(name: str) -> None:
    with pytest.raises(EstimationError, match="no uniform blur found"):
        estimate_psf(srgb_to_linear(getattr(skimage.data, name)()[:300] / 255))


@pytest.mark.parametrize(
    "image",
    [np.full((160, 160), 0.5), np.zeros((160, 160, 3)), np.random.default_rng(0).random((160, 160))],
    ids=["grey", "black", "noise"],
)
def test_image_without_edges_raises(image: np.ndarray) -> None:
    with pytest.raises(EstimationError, match="no uniform blur found"):
        estimate_psf(image)


def test_too_small_image_raises() -> None:
    with pytest.raises(ValueError, match="300x100 is too small to estimate a psf: 128x128 at least"):
        estimate_psf(np.zeros((100, 300)))


def test_only_the_part_with_most_texture_is_used() -> None:
    grey = np.zeros((60, 90))
    grey[20:40, 50:70] = np.random.default_rng(0).random((20, 20))  # and gradients one pixel around
    assert np.array_equal(crop_texture(grey, 22), grey[19:41, 49:71])
    assert np.array_equal(crop_texture(grey, 100), grey)


def test_shrinkage_is_the_minimum() -> None:
    """The candidates are (0, 0) and the gradient itself, since any other (u, v) costs as much as the latter or more."""
    dx, dy = np.random.default_rng(0).normal(size=(2, 500))
    u, v = shrink_l0(dx, dy, 0.7)
    grid = np.linspace(-4, 4, 81)  # contains 0
    a, b = (plane.ravel() for plane in np.meshgrid(grid, grid))
    a, b = np.append(a[:, None] + 0 * dx, dx[None], 0), np.append(b[:, None] + 0 * dy, dy[None], 0)
    costs = (a - dx) ** 2 + (b - dy) ** 2 + 0.7 * ((np.abs(a) + np.abs(b)) > 1e-12)
    assert (u - dx) ** 2 + (v - dy) ** 2 + 0.7 * ((u != 0) | (v != 0)) == pytest.approx(costs.min(0))
    assert 0.1 < (u == 0).mean() < 0.9


def _matrix(kernel: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the matrix of the periodic convolution of a flattened image with a kernel, centre `(h // 2, w // 2)`."""
    matrix = np.zeros((np.prod(shape), np.prod(shape)))
    for (y, x), (row, column) in itertools.product(np.ndindex(*shape), np.ndindex(*kernel.shape)):
        source = (y - row + kernel.shape[0] // 2) % shape[0], (x - column + kernel.shape[1] // 2) % shape[1]
        matrix[y * shape[1] + x, source[0] * shape[1] + source[1]] += kernel[row, column]
    return matrix


def test_image_step_is_the_least_squares_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one penalty b: the minimum of `|K x - y|^2 + b |D x - (u, v)|^2`, by dense matrices."""
    rng, weight = np.random.default_rng(1), 0.1
    y, psf = rng.random((8, 10)), rng.random((3, 3))
    psf /= psf.sum()
    monkeypatch.setattr(blind, "_MAX_PENALTY", 3 * weight)
    x = sharpen_edges(y, psf, weight)
    right, down = np.array([[1.0, -1, 0]]), np.array([[1.0], [-1], [0]])
    matrices = _matrix(psf, y.shape), *(np.sqrt(2 * weight) * _matrix(d, y.shape) for d in (right, down))
    targets = [y, *(np.sqrt(2 * weight) * plane for plane in shrink_l0(*gradient(y), 1 / 2))]
    solution = np.linalg.lstsq(np.concatenate(matrices), np.concatenate([t.ravel() for t in targets]))[0]
    assert x.ravel() == pytest.approx(solution, abs=1e-5)


def test_edges_are_kept_and_texture_is_removed() -> None:
    step = np.zeros((32, 32))
    step[8:24, 8:24] = 0.5
    noisy = step + 0.01 * np.random.default_rng(0).standard_normal(step.shape)
    x = sharpen_edges(noisy, np.ones((1, 1)), 0.005)
    changes = np.hypot(*gradient(x)) > 0.05
    assert np.array_equal(changes, np.hypot(*gradient(step)) > 0)
    assert x[10:22, 10:22].std() < 0.002


def test_psf_step_is_the_solution_of_the_normal_equations() -> None:
    rng = np.random.default_rng(2)
    edges, observed = rng.normal(size=(2, 2, 12, 14))
    columns = [
        np.concatenate([np.roll(edge, (dy, dx), (0, 1)).ravel() for edge in edges])
        for dy, dx in itertools.product((-1, 0, 1), (-1, 0, 1))
    ]
    matrix = np.stack(columns, axis=1)
    solution = np.linalg.solve(matrix.T @ matrix + 2 * np.eye(9), matrix.T @ observed.ravel())
    psf = solve_psf(list(edges), list(observed), 3, np.zeros((3, 3)))
    assert psf.ravel() == pytest.approx(solution, abs=1e-4 * np.abs(solution).max())
