"""Tests of trajectories and their psf."""

import numpy as np
import pytest

from deblurlab.synthesis.motion import camera_trajectory, extent, object_trajectory, trajectory_psf


@pytest.mark.parametrize("make", [camera_trajectory, object_trajectory])
@pytest.mark.parametrize("seed", range(5))
def test_trajectory_has_the_given_extent_and_is_centred(make: object, seed: int) -> None:
    trajectory = make(np.random.default_rng(seed), 32, length=13.0, rotation=0.02)  # type: ignore[operator]
    assert trajectory.shape == (32, 3)
    assert extent(trajectory) == pytest.approx(13.0)
    assert np.ptp(trajectory[:, 2]) == pytest.approx(0.02)
    np.testing.assert_allclose(trajectory[:, :2].mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("make", [camera_trajectory, object_trajectory])
def test_length_0_is_no_motion(make: object) -> None:
    assert not make(np.random.default_rng(0), 16, length=0.0).any()  # type: ignore[operator]


def test_camera_trajectory_has_constant_speed() -> None:
    trajectory = camera_trajectory(np.random.default_rng(1), 200, length=20.0)
    steps = np.hypot(*np.diff(trajectory[:, :2], axis=0).T)
    assert steps.max() == pytest.approx(steps.min(), rel=1e-6)


def test_psf_of_a_straight_line() -> None:
    trajectory = np.array([[-1.0, 0, 0], [0, 0, 0], [1.5, 0, 0]])
    expected = np.zeros((5, 5))
    expected[2] = np.array([0, 1, 1, 0.5, 0.5]) / 3
    np.testing.assert_allclose(trajectory_psf(trajectory, 5), expected)


def test_psf_sums_to_one_and_is_centred() -> None:
    trajectory = camera_trajectory(np.random.default_rng(2), 64, length=11.0)
    kernel = trajectory_psf(trajectory, 25)
    assert kernel.sum() == pytest.approx(1)
    rows, columns = np.mgrid[:25, :25] - 12
    assert (kernel * rows).sum() == pytest.approx(0, abs=1e-9)
    assert (kernel * columns).sum() == pytest.approx(0, abs=1e-9)


def test_trajectory_without_psf_raises() -> None:
    with pytest.raises(ValueError, match="rotates"):
        trajectory_psf(camera_trajectory(np.random.default_rng(0), 16, length=3.0, rotation=0.1), 15)
    with pytest.raises(ValueError, match=r"leaves the kernel of 5 pixels: its extent is 20\.0 pixels"):
        trajectory_psf(camera_trajectory(np.random.default_rng(0), 16, length=20.0), 5)
