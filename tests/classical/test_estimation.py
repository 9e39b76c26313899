"""Estimating straight motion on photographs blurred by known kernels."""

import numpy as np
import pytest
import skimage.data

from deblurlab.classical import EstimationError, line, motion
from support import blurred

PHOTOS = {
    "astronaut": skimage.data.astronaut(), "coffee": skimage.data.coffee(), "chelsea": skimage.data.chelsea(),
    "rocket": skimage.data.rocket(),
}  # fmt: skip


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("length", "angle"), [(8, 20), (13, 75), (17, 130), (24, 0), (30, 160)])
def test_length_and_angle_are_found(name: str, length: float, angle: float) -> None:
    """Within a pixel and 3 degrees, through noise and 8 bits."""
    photo = PHOTOS[name] / 255
    noise = 0.004 * np.random.default_rng(0).standard_normal(photo.shape)
    seen = np.round(255 * np.clip(blurred(photo, line(length, angle)) + noise, 0, 1)) / 255
    found = motion(seen)
    assert found.length == pytest.approx(length, abs=1)
    apart = abs(found.angle - angle)
    assert min(apart, 180 - apart) <= 3


@pytest.mark.parametrize("name", PHOTOS)
def test_an_unblurred_photograph_shows_none(name: str) -> None:
    with pytest.raises(EstimationError, match="no straight motion"):
        motion(PHOTOS[name] / 255)


def test_too_small_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="128 at least"):
        motion(np.zeros((100, 300)))


@pytest.mark.parametrize(("length", "angle"), [(9, 0), (9, 90), (12.5, 37)])
def test_a_line_is_as_long_and_points_where_it_should(length: float, angle: float) -> None:
    kernel = line(length, angle)
    assert kernel.sum() == pytest.approx(1)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-9)
    along = x * np.cos(np.deg2rad(angle)) - y * np.sin(np.deg2rad(angle))
    across = x * np.sin(np.deg2rad(angle)) + y * np.cos(np.deg2rad(angle))
    # An even line of length L has variance L^2 / 12; bilinear spreading adds up to a quarter pixel squared.
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, abs=0.3)
    assert (kernel * across**2).sum() < 0.3
