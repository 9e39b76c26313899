"""Tests of whole synthetic pairs."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve

from deblurlab.media.srgb import srgb_to_linear
from deblurlab.synthesis import BlurKey, Synthesis
from deblurlab.synthesis.exposure import LINEAR_MAX, SRGB_TO_LINEAR, Layer, decode_srgb
from deblurlab.synthesis.parameters import SynthesisParameters
from deblurlab.synthesis.scenes import dead_leaves

STATIC = Synthesis(
    blur_length=(0, 0), rotation=(0, 0), objects=(0, 0), object_length=(0, 0), softness=(0, 0), read_noise=(0, 0),
    shot_noise=(0, 0),
)  # fmt: skip


DEFOCUSED = next(
    seed
    for seed in range(50)
    if replace(STATIC, defocus=(2, 2))._draw_parameters(np.random.default_rng(seed), 96, 96)[0].defocus
)


def test_defocus_affects_a_third_of_the_pairs_and_no_other_parameter() -> None:
    plain, defocused = (replace(STATIC, blur_length=(0, 9), defocus=radii) for radii in ((0, 0), (1, 4)))
    parameters = [
        [synthesis._draw_parameters(np.random.default_rng(i), 96, 96) for i in range(200)]
        for synthesis in (plain, defocused)
    ]
    assert np.mean([drawn.defocus > 0 for drawn, _ in parameters[1]]) == pytest.approx(1 / 3, abs=0.08)
    for (before, trajectories), (after, same_trajectories) in zip(*parameters, strict=True):
        assert np.array_equal(trajectories, same_trajectories)
        assert replace(after, defocus=0.0) == before


@pytest.mark.parametrize("defocus", [(0, 0), (2.5, 2.5)])
def test_blurred_image_is_the_convolution_with_the_stored_psf(defocus: tuple[float, float]) -> None:
    """In linear light, away from the borders."""
    synthesis = replace(STATIC, blur_length=(7, 7), defocus=defocus)
    blurred, sharp, parameters = synthesis.scene_pair(np.random.default_rng(DEFOCUSED), 96, 96)
    assert parameters.defocus == defocus[0]
    kernel = np.array(parameters.psf)
    assert kernel.sum() == pytest.approx(1)
    light = SRGB_TO_LINEAR[sharp].astype(float)
    expected = np.stack([convolve(light[..., c], kernel) for c in range(3)], axis=-1)
    error = np.abs(SRGB_TO_LINEAR[blurred].astype(float) - expected)[16:-16, 16:-16]
    assert error.mean() < 0.004 * LINEAR_MAX
    assert np.abs(light - expected)[16:-16, 16:-16].mean() > 0.02 * LINEAR_MAX


def test_pairs_with_one_psf_have_no_objects_and_no_rotation() -> None:
    """Half of the pairs; the others are those of the same seed without the setting."""
    moving = replace(STATIC, blur_length=(3, 9), rotation=(1, 2), objects=(1, 3), object_length=(4, 9))
    drawn = [
        [synthesis._draw_parameters(np.random.default_rng(i), 96, 96) for i in range(200)]
        for synthesis in (moving, replace(moving, uniform=0.5))
    ]
    uniform = [not parameters.objects for parameters, _ in drawn[1]]
    assert np.mean(uniform) == pytest.approx(0.5, abs=0.1)
    for (before, all_layers), (after, trajectories), is_uniform in zip(*drawn, uniform, strict=True):
        assert np.array_equal(trajectories[0][:, :2], all_layers[0][:, :2])
        if is_uniform:
            assert len(trajectories) == 1
            assert not trajectories[0][:, 2].any()
            assert after == replace(before, objects=0, rotation=0.0)
        else:
            assert after == before
            assert np.array_equal(trajectories, all_layers)


@pytest.mark.parametrize("blur_key", ["blur_gamma", "blur"])
def test_blurred_highlights_are_brighter_than_those_of_a_clipped_image(blur_key: BlurKey) -> None:
    """A white line of 1 pixel that moves over 8 pixels: 1/8 of white, and 4/8 of white with four times the light.

    The average of sRGB values of clipped frames, as in a video, has no light beyond white.
    """
    line = np.zeros((64, 64, 3), np.uint8)
    line[:, 32] = 255
    means = []
    for highlights in (0.0, 3.0):
        synthesis = replace(STATIC, highlights=(highlights, highlights), blur_key=blur_key)
        layer = Layer(decode_srgb(line, highlights), None, np.array([[x - 4, 0, 0] for x in range(8)], float))
        parameters = SynthesisParameters(
            blur_length=7, rotation=0, objects=0, softness=0, read_noise=0, shot_noise=0, jpeg_quality=None,
            blur_key=blur_key, highlights=highlights,
        )  # fmt: skip
        blurred, sharp = synthesis._render(np.random.default_rng(0), [layer], 32, 32, parameters)
        assert sharp.max() == 255
        means.append(SRGB_TO_LINEAR[blurred[16, 16, 0]] / LINEAR_MAX)
    expected = (1 / 8, 4 / 8) if blur_key == "blur_gamma" else (float(srgb_to_linear(np.float64(1 / 8))),) * 2
    assert means == pytest.approx(expected, abs=0.005)


def test_half_of_the_scenes_have_brighter_highlights() -> None:
    synthesis = replace(STATIC, highlights=(0, 2))
    values = [synthesis._draw_parameters(np.random.default_rng(i), 96, 96)[0].highlights for i in range(400)]
    assert np.mean(np.array(values) > 0) == pytest.approx(0.5, abs=0.08)
    assert 1.9 < max(values) <= 2


def test_psf_of_a_rotating_camera_is_that_of_the_centre() -> None:
    synthesis = replace(STATIC, blur_length=(7, 7), rotation=(3, 3))
    blurred, sharp, parameters = synthesis.scene_pair(np.random.default_rng(2), 96, 96)
    light = SRGB_TO_LINEAR[sharp].astype(float)
    expected = np.stack([convolve(light[..., c], np.array(parameters.psf)) for c in range(3)], axis=-1)
    error = np.abs(SRGB_TO_LINEAR[blurred].astype(float) - expected)
    assert error[40:-40, 40:-40].mean() < 0.25 * error[8:20, 8:20].mean()


def test_without_motion_and_noise_both_images_are_equal() -> None:
    blurred, sharp, parameters = STATIC.scene_pair(np.random.default_rng(0), 48, 64)
    assert blurred.shape == (48, 64, 3)
    assert np.array_equal(blurred, sharp)
    assert parameters.blur_length == 0


@pytest.mark.parametrize(
    "change", [{"blur_length": (8, 8)}, {"rotation": (5, 5)}, {"objects": (3, 3), "object_length": (9, 9)},
               {"read_noise": (0.01, 0.01)}, {"jpeg_quality": (30, 30)}, {"defocus": (3, 3)}],
)  # fmt: skip
def test_each_degradation_changes_the_blurred_image(change: dict) -> None:
    fields = {"blur_length": (0, 0), **change}
    # A third of the seeds has defocus; this is one of them.
    blurred, sharp, _ = replace(STATIC, **fields).scene_pair(np.random.default_rng(DEFOCUSED), 96, 96)
    difference = np.abs(blurred.astype(int) - sharp).mean()
    assert 0.05 < difference < 60


def test_both_kinds_of_blur_share_the_scene() -> None:
    """The average in linear light is brighter, because the transfer function is concave (Jensen's inequality)."""
    synthesis = replace(STATIC, blur_length=(9, 9), objects=(2, 2), object_length=(9, 9))
    pairs = [
        replace(synthesis, blur_key=key).scene_pair(np.random.default_rng(1), 96, 96) for key in ("blur_gamma", "blur")
    ]
    (gamma, sharp, _), (codes, same_sharp, _) = pairs
    assert np.array_equal(sharp, same_sharp)
    assert (gamma >= codes.astype(int) - 1).all()
    assert (gamma > codes).mean() > 0.05


def test_unknown_blur_key_raises() -> None:
    with pytest.raises(ValueError, match="blur_key is 'gamma': blur, blur_gamma or either"):
        Synthesis(blur_key="gamma")


def test_fractions_of_static_uncompressed_and_blur_pairs() -> None:
    synthesis = Synthesis(still=0.2, jpeg_quality=(81, 120), blur_key="either", defocus=(1, 2))
    parameters = [synthesis._draw_parameters(np.random.default_rng(i), 100, 100)[0] for i in range(400)]
    static = [r for r in parameters if r.blur_length == r.rotation == r.defocus == 0]
    assert len(static) == pytest.approx(80, abs=25)
    assert sum(r.jpeg_quality is None for r in parameters) == pytest.approx(200, abs=40)
    assert all(81 <= r.jpeg_quality <= 100 for r in parameters if r.jpeg_quality is not None)
    assert sum(r.blur_key == "blur" for r in parameters) == pytest.approx(200, abs=40)


def test_static_pair_has_equal_images() -> None:
    synthesis = replace(STATIC, blur_length=(9, 9), objects=(2, 2), object_length=(9, 9), still=1.0)
    blurred, sharp, parameters = synthesis.scene_pair(np.random.default_rng(0), 64, 64)
    assert np.array_equal(blurred, sharp)
    assert np.array(parameters.psf).max() == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"still": 2}, "still is 2: a fraction"),
        ({"uniform": -1}, "uniform is -1: a fraction"),
        ({"highlights": (0, 4)}, r"highlights is \(0, 4\): a range within \[0, 3\]"),
        ({"highlights": (2, 1)}, "a range within"),
        ({"jpeg_quality": (130, 70)}, r"jpeg_quality is \(130, 70\): two numbers"),
        ({"jpeg_quality": (0, 70)}, "from 1 on"),
        ({"jpeg_quality": (70,)}, "two numbers"),
    ],
)
def test_invalid_ranges_raise(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Synthesis(**arguments)


def test_parameters_cover_their_ranges() -> None:
    synthesis = Synthesis(blur_length=(2, 10), rotation=(0, 1), objects=(0, 2))
    parameters = [synthesis._draw_parameters(np.random.default_rng(i), 100, 100)[0] for i in range(300)]
    lengths = [r.blur_length for r in parameters]
    assert 2 <= min(lengths) < 2.3
    assert 9.7 < max(lengths) <= 10 + 1e-9
    assert {r.objects for r in parameters} == {0, 1, 2}
    unsoftened = sum(r.softness == 0 for r in parameters)
    assert 110 < unsoftened < 190  # about half of them


def test_moving_objects_blur_only_a_part_of_the_image() -> None:
    """The static background stays sharp."""
    synthesis = replace(STATIC, objects=(1, 1), object_length=(12, 12))
    blurred, sharp, _ = synthesis.scene_pair(np.random.default_rng(4), 128, 128)
    changed = (blurred != sharp).any(axis=-1).mean()
    assert 0.002 < changed < 0.8


def test_too_small_photograph_raises() -> None:
    with pytest.raises(ValueError, match="is too small: the blur needs a margin of"):
        Synthesis(blur_length=(30, 30)).photo_pair(np.random.default_rng(0), np.zeros((40, 40, 3), np.uint8))


def test_dead_leaves_have_the_spectrum_of_photographs() -> None:
    """Power is about proportional to f^-2 in both (Field, JOSA A 1987; Lee, Mumford and Huang, IJCV 2001)."""

    def slope(image: np.ndarray) -> float:
        grey = image[:256, :256].mean(axis=-1)
        window = np.outer(np.hanning(256), np.hanning(256))
        power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
        frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256))
        within = (frequency > 0.02) & (frequency < 0.35)
        return float(np.polyfit(np.log(frequency[within]), np.log(power[within]), 1)[0])

    scenes = np.mean([slope(dead_leaves(np.random.default_rng(i), 256, 256)) for i in range(8)])
    photographs = np.mean([slope(f()) for f in (skimage.data.astronaut, skimage.data.chelsea, skimage.data.coffee)])
    assert scenes == pytest.approx(photographs, abs=0.4)
