"""Tests of the textures of dead leaves."""

from collections.abc import Callable

import numpy as np
import pytest

from deblurlab.synthesis.scenes import dead_leaves
from deblurlab.synthesis.textures import TEXTURES, Texture, fractal_noise


@pytest.mark.parametrize("texture", TEXTURES)
def test_texture_has_the_given_size_and_range(texture: Callable[..., Texture]) -> None:
    for height, width in ((7, 90), (128, 96)):
        fields = [texture(np.random.default_rng(seed), height, width) for seed in range(6)]
        assert {field.shape for field in fields} == {(height, width)}
        assert max(np.abs(field).max() for field in fields) < 300
        assert all(field.std() > 3 for field in fields)


def _slope(field: Texture) -> float:
    """Return the slope of log power against log frequency."""
    power = np.abs(np.fft.fft2(field - field.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(field.shape[0])[:, None], np.fft.fftfreq(field.shape[1]))
    inside = (frequency > 0.02) & (frequency < 0.25)
    return float(np.polyfit(np.log(frequency[inside]), np.log(power[inside] + 1e-9), 1)[0])


def test_fractal_noise_has_the_given_slope() -> None:
    """Power is amplitude squared: a slope larger by 1 makes the power spectrum steeper by 2."""
    steep, flat = (
        np.mean([_slope(fractal_noise(np.random.default_rng(i), 256, 256, finest=1, slope=s)) for i in range(4)])
        for s in (1.0, 0.0)
    )
    assert steep == pytest.approx(flat - 2, abs=0.7)


def _detail(texture: float) -> np.ndarray:
    """Return the mean difference of adjacent pixels in each 16x16 block of 16 images."""
    scenes = [dead_leaves(np.random.default_rng(i), 128, 128, texture=texture) for i in range(16)]
    steps = np.abs(np.diff(np.array(scenes, int), axis=2, append=0)).mean(axis=-1)
    return steps.reshape(16, 8, 16, 8, 16).mean(axis=(2, 4)).ravel()


def test_more_texture_gives_more_detail() -> None:
    little, much = _detail(0.1).mean(), _detail(0.9).mean()
    assert much > 1.2 * little


def test_images_with_texture_have_uniform_areas() -> None:
    plain, textured = (np.quantile(_detail(texture), 0.05) for texture in (0.0, 0.5))
    assert textured < 0.5 * plain
