"""Whole pairs: what was asked for is what is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from scipy.ndimage import convolve

from deblurlab.synthesis import Synthesis
from deblurlab.synthesis.exposure import LINEAR_MAX, SRGB_TO_LINEAR
from deblurlab.synthesis.scenes import dead_leaves

STILL = Synthesis(
    blur_length=(0, 0), rotation=(0, 0), objects=(0, 0), object_length=(0, 0), softness=(0, 0), read_noise=(0, 0),
    shot_noise=(0, 0),
)  # fmt: skip


DEFOCUSED = next(
    seed for seed in range(50) if replace(STILL, defocus=(2, 2))._draw(np.random.default_rng(seed), 96, 96)[0].defocus
)


def test_a_third_is_out_of_focus_and_the_rest_is_as_it_was() -> None:
    plain, defocused = (replace(STILL, blur_length=(0, 9), defocus=radii) for radii in ((0, 0), (1, 4)))
    recipes = [
        [synthesis._draw(np.random.default_rng(i), 96, 96) for i in range(200)] for synthesis in (plain, defocused)
    ]
    assert np.mean([recipe.defocus > 0 for recipe, _ in recipes[1]]) == pytest.approx(1 / 3, abs=0.08)
    for (before, paths), (after, same_paths) in zip(*recipes, strict=True):
        assert np.array_equal(paths, same_paths)
        assert replace(after, defocus=0.0) == before


@pytest.mark.parametrize("defocus", [(0, 0), (2.5, 2.5)])
def test_the_kernel_of_a_recipe_makes_the_blur(defocus: tuple[float, float]) -> None:
    """In linear light, away from the borders."""
    synthesis = replace(STILL, blur_length=(7, 7), defocus=defocus)
    blurred, sharp, recipe = synthesis.scene_pair(np.random.default_rng(DEFOCUSED), 96, 96)
    assert recipe.defocus == defocus[0]
    kernel = np.array(recipe.psf)
    assert kernel.sum() == pytest.approx(1)
    light = SRGB_TO_LINEAR[sharp].astype(float)
    expected = np.stack([convolve(light[..., c], kernel) for c in range(3)], axis=-1)
    error = np.abs(SRGB_TO_LINEAR[blurred].astype(float) - expected)[16:-16, 16:-16]
    assert error.mean() < 0.004 * LINEAR_MAX
    assert np.abs(light - expected)[16:-16, 16:-16].mean() > 0.02 * LINEAR_MAX


def test_the_kernel_of_a_turning_camera_is_that_of_the_centre() -> None:
    synthesis = replace(STILL, blur_length=(7, 7), rotation=(3, 3))
    blurred, sharp, recipe = synthesis.scene_pair(np.random.default_rng(2), 96, 96)
    light = SRGB_TO_LINEAR[sharp].astype(float)
    expected = np.stack([convolve(light[..., c], np.array(recipe.psf)) for c in range(3)], axis=-1)
    error = np.abs(SRGB_TO_LINEAR[blurred].astype(float) - expected)
    assert error[40:-40, 40:-40].mean() < 0.25 * error[8:20, 8:20].mean()


def test_without_motion_and_noise_both_pictures_are_one() -> None:
    blurred, sharp, recipe = STILL.scene_pair(np.random.default_rng(0), 48, 64)
    assert blurred.shape == (48, 64, 3)
    assert np.array_equal(blurred, sharp)
    assert recipe.blur_length == 0


@pytest.mark.parametrize(
    "change", [{"blur_length": (8, 8)}, {"rotation": (5, 5)}, {"objects": (3, 3), "object_length": (9, 9)},
               {"read_noise": (0.01, 0.01)}, {"jpeg_quality": (30, 30)}, {"defocus": (3, 3)}],
)  # fmt: skip
def test_each_degradation_changes_the_blurred_picture_alone(change: dict) -> None:
    fields = {"blur_length": (0, 0), **change}
    # The seed is one of those in a third of which there is defocus.
    blurred, sharp, _ = replace(STILL, **fields).scene_pair(np.random.default_rng(DEFOCUSED), 96, 96)
    difference = np.abs(blurred.astype(int) - sharp).mean()
    assert 0.05 < difference < 60


def test_both_kinds_of_blur_are_of_the_same_scene() -> None:
    """Light averaged is lighter than codes averaged: the response is concave (Jensen)."""
    synthesis = replace(STILL, blur_length=(9, 9), objects=(2, 2), object_length=(9, 9))
    pairs = [
        replace(synthesis, blur_key=key).scene_pair(np.random.default_rng(1), 96, 96) for key in ("blur_gamma", "blur")
    ]
    (gamma, sharp, _), (codes, same_sharp, _) = pairs
    assert np.array_equal(sharp, same_sharp)
    assert (gamma >= codes.astype(int) - 1).all()
    assert (gamma > codes).mean() > 0.05


def test_an_unknown_kind_of_blur_is_refused() -> None:
    with pytest.raises(ValueError, match="blur_key is 'gamma': blur, blur_gamma or either"):
        Synthesis(blur_key="gamma")


def test_shares_of_the_pairs_are_still_uncompressed_and_of_either_kind() -> None:
    synthesis = Synthesis(still=0.2, jpeg_quality=(81, 120), blur_key="either", defocus=(1, 2))
    recipes = [synthesis._draw(np.random.default_rng(i), 100, 100)[0] for i in range(400)]
    still = [r for r in recipes if r.blur_length == r.rotation == r.defocus == 0]
    assert len(still) == pytest.approx(80, abs=25)
    assert sum(r.jpeg_quality is None for r in recipes) == pytest.approx(200, abs=40)
    assert all(81 <= r.jpeg_quality <= 100 for r in recipes if r.jpeg_quality is not None)
    assert sum(r.blur_key == "blur" for r in recipes) == pytest.approx(200, abs=40)


def test_a_still_pair_differs_by_nothing() -> None:
    synthesis = replace(STILL, blur_length=(9, 9), objects=(2, 2), object_length=(9, 9), still=1.0)
    blurred, sharp, recipe = synthesis.scene_pair(np.random.default_rng(0), 64, 64)
    assert np.array_equal(blurred, sharp)
    assert np.array(recipe.psf).max() == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"still": 2}, "still is 2: a share"),
        ({"jpeg_quality": (130, 70)}, r"jpeg_quality is \(130, 70\): two numbers"),
        ({"jpeg_quality": (0, 70)}, "from 1 on"),
        ({"jpeg_quality": (70,)}, "two numbers"),
    ],
)
def test_what_is_no_range_is_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Synthesis(**wrong)


def test_recipes_stay_within_their_ranges_and_fill_them() -> None:
    synthesis = Synthesis(blur_length=(2, 10), rotation=(0, 1), objects=(0, 2))
    recipes = [synthesis._draw(np.random.default_rng(i), 100, 100)[0] for i in range(300)]
    lengths = [r.blur_length for r in recipes]
    assert 2 <= min(lengths) < 2.3
    assert 9.7 < max(lengths) <= 10 + 1e-9
    assert {r.objects for r in recipes} == {0, 1, 2}
    crisp = sum(r.softness == 0 for r in recipes)
    assert 110 < crisp < 190  # half of them


def test_moving_things_are_not_where_the_camera_alone_would_put_them() -> None:
    """With objects the blur differs from place to place: a static part stays, a moving one doesn't."""
    synthesis = replace(STILL, objects=(1, 1), object_length=(12, 12))
    blurred, sharp, _ = synthesis.scene_pair(np.random.default_rng(4), 128, 128)
    changed = (blurred != sharp).any(axis=-1).mean()
    assert 0.002 < changed < 0.8


def test_a_photograph_too_small_for_the_blur_is_refused() -> None:
    with pytest.raises(ValueError, match="has no room for the blur's margin"):
        Synthesis(blur_length=(30, 30)).photo_pair(np.random.default_rng(0), np.zeros((40, 40, 3), np.uint8))


def test_scenes_have_the_spectrum_of_photographs() -> None:
    """Power falls with frequency f as about f^-2 in both (Field, 1987; Lee, Mumford and Huang, 2001)."""

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
