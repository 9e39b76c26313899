"""Paths and their kernels."""

import numpy as np
import pytest

from deblurlab.synthesis.motion import drift, extent, psf, shake


@pytest.mark.parametrize("make", [shake, drift])
@pytest.mark.parametrize("seed", range(5))
def test_a_path_has_the_size_asked_for_and_is_centred(make: object, seed: int) -> None:
    path = make(np.random.default_rng(seed), 32, length=13.0, rotation=0.02)  # type: ignore[operator]
    assert path.shape == (32, 3)
    assert extent(path) == pytest.approx(13.0)
    assert np.ptp(path[:, 2]) == pytest.approx(0.02)
    np.testing.assert_allclose(path[:, :2].mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("make", [shake, drift])
def test_no_length_is_no_motion(make: object) -> None:
    assert not make(np.random.default_rng(0), 16, length=0.0).any()  # type: ignore[operator]


def test_shakes_are_smooth() -> None:
    path = shake(np.random.default_rng(1), 200, length=20.0)
    steps = np.hypot(*np.diff(path[:, :2], axis=0).T)
    assert steps.max() == pytest.approx(steps.min(), rel=1e-6)  # the hand never stops and never leaps


def test_the_kernel_of_a_straight_line_by_hand() -> None:
    path = np.array([[-1.0, 0, 0], [0, 0, 0], [1.5, 0, 0]])
    expected = np.zeros((5, 5))
    expected[2] = np.array([0, 1, 1, 0.5, 0.5]) / 3
    np.testing.assert_allclose(psf(path, 5), expected)


def test_kernels_sum_to_one_and_are_centred() -> None:
    path = shake(np.random.default_rng(2), 64, length=11.0)
    kernel = psf(path, 25)
    assert kernel.sum() == pytest.approx(1)
    rows, columns = np.mgrid[:25, :25] - 12
    assert (kernel * rows).sum() == pytest.approx(0, abs=1e-9)
    assert (kernel * columns).sum() == pytest.approx(0, abs=1e-9)


def test_what_has_no_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="rotates"):
        psf(shake(np.random.default_rng(0), 16, length=3.0, rotation=0.1), 15)
    with pytest.raises(ValueError, match=r"leaves a kernel of 5 pixels: it is 20\.0 pixels long"):
        psf(shake(np.random.default_rng(0), 16, length=20.0), 5)
