"""Tests of motion estimation on photographs with known blur."""

import numpy as np
import pytest
import skimage.data

from deblurlab.classical import EstimationError, estimate_motion, line_psf
from support import blurred

PHOTOS = {
    "astronaut": skimage.data.astronaut(), "coffee": skimage.data.coffee(), "chelsea": skimage.data.chelsea(),
    "rocket": skimage.data.rocket(),
}  # fmt: skip


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize(("length", "angle"), [(8, 20), (13, 75), (17, 130), (24, 0), (30, 160)])
def test_length_and_angle_are_estimated(name: str, length: float, angle: float) -> None:
    """Within 1 pixel and 3 degrees, with noise and 8-bit quantisation."""
    photo = PHOTOS[name] / 255
    noise = 0.004 * np.random.default_rng(0).standard_normal(photo.shape)
    observed = np.round(255 * np.clip(blurred(photo, line_psf(length, angle)) + noise, 0, 1)) / 255
    estimated = estimate_motion(observed)
    assert estimated.length == pytest.approx(length, abs=1)
    difference = abs(estimated.angle - angle)
    assert min(difference, 180 - difference) <= 3


@pytest.mark.parametrize("name", PHOTOS)
def test_unblurred_photograph_raises(name: str) -> None:
    with pytest.raises(EstimationError, match="no uniform linear motion"):
        estimate_motion(PHOTOS[name] / 255)


def test_too_small_image_raises() -> None:
    with pytest.raises(ValueError, match="128x128 at least"):
        estimate_motion(np.zeros((100, 300)))


@pytest.mark.parametrize(("length", "angle"), [(9, 0), (9, 90), (12.5, 37)])
def test_line_psf_has_the_given_length_and_angle(length: float, angle: float) -> None:
    kernel = line_psf(length, angle)
    assert kernel.sum() == pytest.approx(1)
    y, x = np.mgrid[: kernel.shape[0], : kernel.shape[1]] - kernel.shape[0] // 2
    assert (kernel * x).sum() == pytest.approx(0, abs=1e-9)
    along = x * np.cos(np.deg2rad(angle)) - y * np.sin(np.deg2rad(angle))
    across = x * np.sin(np.deg2rad(angle)) + y * np.cos(np.deg2rad(angle))
    # A uniform line of length L has variance L^2 / 12; bilinear interpolation adds up to 1/4 pixel^2.
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, abs=0.3)
    assert (kernel * across**2).sum() < 0.3
