"""Tests of the exposure against formulas and an independent convolution."""

import numpy as np
import pytest
from scipy.ndimage import convolve, shift

from deblurlab.synthesis import sensor
from deblurlab.synthesis.exposure import (
    LINEAR_MAX,
    LINEAR_TO_SRGB,
    SRGB_TO_LINEAR,
    Layer,
    blur_defocus,
    expose,
    expose_static,
)
from deblurlab.synthesis.motion import camera_trajectory, trajectory_psf
from deblurlab.synthesis.scenes import dead_leaves

MARGIN, SIDE = 12, 64


def _scene(seed: int = 0) -> np.ndarray:
    return dead_leaves(np.random.default_rng(seed), SIDE + 2 * MARGIN, SIDE + 2 * MARGIN)


def _light(image: np.ndarray) -> np.ndarray:
    return SRGB_TO_LINEAR[image].astype(np.float32)


def _crop_margin(image: np.ndarray) -> np.ndarray:
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN]


def test_table_is_the_srgb_transfer_function() -> None:
    """IEC 61966-2-1 for the linear segment, a mid grey and white."""
    for code, light in ((5, 5 / 255 / 12.92), (128, ((128 / 255 + 0.055) / 1.055) ** 2.4), (255, 1.0)):
        assert SRGB_TO_LINEAR[code] == round(LINEAR_MAX * light)


def test_code_values_survive_the_round_trip_to_linear_light() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(LINEAR_TO_SRGB[SRGB_TO_LINEAR[codes]], codes)


def test_static_layers_stay_sharp() -> None:
    scene = _scene()
    layers = [Layer(_light(scene), None, np.zeros((9, 3)))]
    assert np.array_equal(expose(layers, SIDE, SIDE), expose_static(layers, SIDE, SIDE))
    assert np.array_equal(sensor.encode_srgb(expose_static(layers, SIDE, SIDE)), _crop_margin(scene))


def test_camera_shake_without_rotation_is_a_convolution_with_its_psf() -> None:
    scene, trajectory = _scene(), camera_trajectory(np.random.default_rng(3), 24, length=9.0)
    light = SRGB_TO_LINEAR[scene].astype(float)
    kernel = trajectory_psf(trajectory, 15)
    expected = np.stack([_crop_margin(convolve(light[..., c], kernel)) for c in range(3)], axis=-1)
    actual = expose([Layer(_light(scene), None, trajectory)], SIDE, SIDE)
    # Positions are rounded to 1/32 pixel.
    assert np.abs(actual - expected).mean() < 0.002 * LINEAR_MAX
    assert np.abs(actual - _crop_margin(light)).mean() > 0.02 * LINEAR_MAX  # the image is blurred


def test_layer_follows_its_trajectory() -> None:
    scene = _scene()
    light = SRGB_TO_LINEAR[scene].astype(float)
    actual = expose([Layer(_light(scene), None, np.array([[3.0, -5.0, 0.0]]))], SIDE, SIDE)
    expected = np.stack([_crop_margin(shift(light[..., c], (-5, 3), order=1)) for c in range(3)], axis=-1)
    assert np.abs(actual - expected).max() <= 1


def test_rotation_by_90_degrees() -> None:
    scene = _scene()
    actual = expose([Layer(_light(scene), None, np.array([[0.0, 0.0, np.pi / 2]]))], SIDE, SIDE)
    light = _crop_margin(SRGB_TO_LINEAR[scene])
    assert np.array_equal(actual, np.rot90(light, -1)) or np.array_equal(actual, np.rot90(light, 1))


def test_object_occludes_the_background_while_it_is_in_front() -> None:
    size = SIDE + 2 * MARGIN
    black, white = np.zeros((size, size, 3), np.uint8), np.full((size, size, 3), 255, np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[30:50, 30:50] = 255
    static, moving = np.zeros((2, 3)), np.array([[-5.0, 0, 0], [5.0, 0, 0]])
    actual = expose([Layer(_light(black), None, static), Layer(_light(white), mask, moving)], SIDE, SIDE)[..., 0]
    row = actual[40 - MARGIN]
    expected = np.zeros(SIDE)
    expected[25 - MARGIN : 45 - MARGIN] += LINEAR_MAX / 2
    expected[35 - MARGIN : 55 - MARGIN] += LINEAR_MAX / 2
    assert np.abs(row - expected).max() <= 1


def test_average_of_srgb_code_values_is_the_mean_of_the_frames() -> None:
    """Both kinds of blur of GoPro for black during half of the exposure and white during the other half."""
    size = SIDE + 2 * MARGIN
    halves = np.zeros((size, size, 3), np.uint8)
    halves[:, : size // 2] = 255
    layers = [Layer(_light(halves), None, np.array([[-4.0, 0, 0], [4.0, 0, 0]]))]
    at_edge = [
        int(sensor.encode_srgb(expose(layers, SIDE, SIDE, average_srgb=average_srgb))[SIDE // 2, SIDE // 2, 0])
        for average_srgb in (False, True)
    ]
    assert at_edge == [188, 128]  # half of the linear light is code value 188; the mean of 0 and 255 is 127.5


def test_noise_has_the_given_deviation() -> None:
    rng, signal = np.random.default_rng(0), round(0.25 * LINEAR_MAX)
    light = np.full((400, 400, 3), signal, np.uint16)
    noise = sensor.add_noise(rng, light, read=0.003, shot=0.02).astype(float) / LINEAR_MAX - 0.25
    assert noise.std() == pytest.approx(np.sqrt(0.003**2 + 0.02**2 * 0.25), rel=0.01)
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert np.array_equal(sensor.add_noise(rng, light, read=0, shot=0), light)


def test_jpeg_error_falls_with_quality() -> None:
    scene = _scene()
    errors = [np.abs(sensor.compress_jpeg(scene, quality).astype(int) - scene).mean() for quality in (20, 60, 95)]
    assert errors == sorted(errors, reverse=True)
    assert 0 < errors[2] < 5


def test_defocus_of_a_point_is_a_uniform_disc() -> None:
    light = np.zeros((21, 21, 3), np.uint16)
    light[10, 10] = 12800
    spread = blur_defocus(light, 4.0)[..., 0].astype(float)
    area = np.pi * 4.0**2
    assert spread[10, 10] == pytest.approx(12800 / area, rel=0.02)
    assert spread[10, 13] == spread[10, 10]
    assert spread[10, 15] == 0
    assert spread.sum() == pytest.approx(12800, rel=0.01)
    assert np.array_equal(blur_defocus(light, 0.0), light)
    assert np.array_equal(spread, spread.T)
