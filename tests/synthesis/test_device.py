"""The exposure on a device against the one in integers, its JPEG against OpenCV's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from deblurlab.synthesis import Synthesis, sensor
from deblurlab.synthesis.device import Scenes, photograph, prepared
from deblurlab.synthesis.exposure import LINEAR_MAX, SRGB_TO_LINEAR
from deblurlab.synthesis.jpeg import compressed
from deblurlab.synthesis.scenes import dead_leaves

QUIET = Synthesis(blur_length=(0, 12), objects=(0, 3), object_length=(0, 12), read_noise=(0, 0), shot_noise=(0, 0))


def _batch(synthesis: Synthesis, seeds: range, side: int = 48) -> Scenes:
    scenes = [synthesis.scene(np.random.default_rng(seed), side, side, even=True) for seed in seeds]
    batch = default_collate([prepared(scene, synthesis, seed=i)._asdict() for i, scene in enumerate(scenes)])
    return Scenes(**batch)


@pytest.mark.parametrize(
    "change", [{}, {"defocus": (1, 4)}, {"blur_key": "blur"}, {"rotation": (3, 9)}, {"blur_key": "either"}]
)
def test_it_is_the_exposure_in_integers(change: dict) -> None:
    synthesis = replace(QUIET, **change)
    blurred, sharp = photograph(_batch(synthesis, range(6)), synthesis)
    assert blurred.shape == sharp.shape == (6, 3, 48, 48)
    for seed in range(6):
        scene = synthesis.scene(np.random.default_rng(seed), 48, 48, even=True)
        expected = synthesis._photograph(np.random.default_rng(0), scene.layers(), 48, 48, scene.recipe)
        assert np.abs(expected[0].astype(int) - expected[1]).mean() > 1  # it is blurred
        for mine, theirs, most in zip((blurred[seed], sharp[seed]), expected, (0.2, 0.01), strict=True):
            difference = (mine.permute(1, 2, 0).int() - torch.tensor(theirs).int()).abs()
            assert difference.max() <= 2  # positions are rounded there
            assert difference.float().mean() < most


def test_a_picture_does_not_depend_on_its_batch() -> None:
    synthesis = replace(QUIET, read_noise=(0.01, 0.01), defocus=(1, 3), jpeg_quality=(40, 90))
    together = photograph(_batch(synthesis, range(4)), synthesis)
    batch = _batch(synthesis, range(4))
    alone = photograph(Scenes(*(tensor[2:3] for tensor in batch)), synthesis)
    for mine, theirs in zip(together, alone, strict=True):
        assert (mine[2:3].int() - theirs.int()).abs().max() <= 1


def test_some_pictures_of_a_batch_are_compressed_and_some_are_not() -> None:
    synthesis = replace(QUIET, jpeg_quality=(20, 180))
    batch = _batch(synthesis, range(8))
    plain = photograph(batch, QUIET)[0]
    found = photograph(batch, synthesis)[0]
    same = [bool((mine == theirs).all()) for mine, theirs in zip(plain, found, strict=True)]
    assert same == (batch.quality == 101).tolist()
    assert 0 < sum(same) < 8


def test_noise_has_the_deviation_asked_for_and_no_pattern() -> None:
    synthesis = replace(
        QUIET, blur_length=(0, 0), objects=(0, 0), rotation=(0, 0), read_noise=(0.02, 0.02), shot_noise=(0, 0)
    )
    grey = lambda rng, height, width: np.full((height, width, 3), 188, np.uint8)  # noqa: E731
    scene = synthesis.scene(np.random.default_rng(0), 256, 256, ground=grey, even=True)
    pictures = []
    for seed in (1, 2):
        batch = Scenes(*(tensor[None] for tensor in prepared(scene, synthesis, seed=seed)))
        pictures.append(torch.tensor(SRGB_TO_LINEAR.astype(float) / LINEAR_MAX)[photograph(batch, synthesis)[0].long()])
    noise = [picture - SRGB_TO_LINEAR[188] / LINEAR_MAX for picture in pictures]
    assert noise[0].std() == pytest.approx(0.02, rel=0.02)
    assert noise[0].mean() == pytest.approx(0, abs=3e-4)
    one = noise[0]
    pairs = {
        "seeds": noise,
        "neighbours": (one[..., 1:], one[..., :-1]),
        "rows": (one[..., 1:, :], one[..., :-1, :]),
        "colours": (one[:, 0], one[:, 1]),
    }
    for name, (left, right) in pairs.items():
        correlation = (left * right).mean() / (left.std() * right.std())
        assert abs(correlation) < 0.02, name


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_jpeg_is_opencvs(quality: int) -> None:
    """But for roundings and for how chrominance is enlarged: much nearer to it than to the picture."""
    picture = dead_leaves(np.random.default_rng(1), 70, 90)
    expected = sensor.jpeg(picture, quality).astype(float)
    batch = torch.tensor(picture).permute(2, 0, 1)[None]
    found = compressed(batch, torch.tensor([quality]))[0].permute(1, 2, 0).double().numpy()
    error, loss = np.abs(found - expected).mean(), np.abs(picture - expected).mean()
    assert error < 0.35 * loss
    assert error < 1.2


def test_scenes_of_a_size_are_of_one_size() -> None:
    for side in (31, 64):
        batch = _batch(QUIET, range(3), side)
        assert QUIET.side(batch.ground.shape[-1]) == side
        assert photograph(batch, QUIET)[0].shape == (3, 3, side, side)
