"""Tests of the exposure on a device against the integer exposure, and of its JPEG against OpenCV."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from deblurlab.synthesis import Synthesis, sensor
from deblurlab.synthesis.device import SceneBatch, render_batch, scene_to_tensors
from deblurlab.synthesis.exposure import LINEAR_MAX, SRGB_TO_LINEAR
from deblurlab.synthesis.jpeg import simulate_jpeg
from deblurlab.synthesis.scenes import dead_leaves

NOISELESS = Synthesis(blur_length=(0, 12), objects=(0, 3), object_length=(0, 12), read_noise=(0, 0), shot_noise=(0, 0))


def _batch(synthesis: Synthesis, seeds: range, side: int = 48) -> SceneBatch:
    scenes = [synthesis.draw_scene(np.random.default_rng(seed), side, side, batchable=True) for seed in seeds]
    batch = default_collate([scene_to_tensors(scene, synthesis, seed=i)._asdict() for i, scene in enumerate(scenes)])
    return SceneBatch(**batch)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"defocus": (1, 4)},
        {"blur_key": "blur"},
        {"rotation": (3, 9)},
        {"blur_key": "either"},
        {"highlights": (3, 3)},
    ],
)
def test_equals_the_integer_exposure(change: dict) -> None:
    synthesis = replace(NOISELESS, **change)
    blurred, sharp = render_batch(_batch(synthesis, range(6)), synthesis)
    assert blurred.shape == sharp.shape == (6, 3, 48, 48)
    for seed in range(6):
        scene = synthesis.draw_scene(np.random.default_rng(seed), 48, 48, batchable=True)
        expected = synthesis._render(np.random.default_rng(0), scene.layers(), 48, 48, scene.parameters)
        assert np.abs(expected[0].astype(int) - expected[1]).mean() > 1  # the image is blurred
        for actual, integer, max_mean in zip((blurred[seed], sharp[seed]), expected, (0.2, 0.01), strict=True):
            difference = (actual.permute(1, 2, 0).int() - torch.tensor(integer).int()).abs()
            assert difference.max() <= 2  # the integer exposure rounds positions
            assert difference.float().mean() < max_mean


def test_image_does_not_depend_on_its_batch() -> None:
    synthesis = replace(NOISELESS, read_noise=(0.01, 0.01), defocus=(1, 3), jpeg_quality=(40, 90))
    batched = render_batch(_batch(synthesis, range(4)), synthesis)
    batch = _batch(synthesis, range(4))
    single = render_batch(SceneBatch(*(tensor[2:3] for tensor in batch)), synthesis)
    for image, expected in zip(batched, single, strict=True):
        assert (image[2:3].int() - expected.int()).abs().max() <= 1


def test_jpeg_quality_above_100_is_not_compressed() -> None:
    synthesis = replace(NOISELESS, jpeg_quality=(20, 180))
    batch = _batch(synthesis, range(8))
    uncompressed = render_batch(batch, NOISELESS)[0]
    rendered = render_batch(batch, synthesis)[0]
    same = [bool((a == b).all()) for a, b in zip(uncompressed, rendered, strict=True)]
    assert same == (batch.quality == 101).tolist()
    assert 0 < sum(same) < 8


def test_noise_has_the_given_deviation_and_is_uncorrelated() -> None:
    synthesis = replace(
        NOISELESS, blur_length=(0, 0), objects=(0, 0), rotation=(0, 0), read_noise=(0.02, 0.02), shot_noise=(0, 0)
    )
    grey = lambda rng, height, width: np.full((height, width, 3), 188, np.uint8)  # noqa: E731
    scene = synthesis.draw_scene(np.random.default_rng(0), 256, 256, source=grey, batchable=True)
    images = []
    for seed in (1, 2):
        batch = SceneBatch(*(tensor[None] for tensor in scene_to_tensors(scene, synthesis, seed=seed)))
        images.append(torch.tensor(SRGB_TO_LINEAR.astype(float) / LINEAR_MAX)[render_batch(batch, synthesis)[0].long()])
    noise = [image - SRGB_TO_LINEAR[188] / LINEAR_MAX for image in images]
    assert noise[0].std() == pytest.approx(0.02, rel=0.02)
    assert noise[0].mean() == pytest.approx(0, abs=3e-4)
    first = noise[0]
    pairs = {
        "seeds": noise,
        "neighbours": (first[..., 1:], first[..., :-1]),
        "rows": (first[..., 1:, :], first[..., :-1, :]),
        "colours": (first[:, 0], first[:, 1]),
    }
    for name, (left, right) in pairs.items():
        correlation = (left * right).mean() / (left.std() * right.std())
        assert abs(correlation) < 0.02, name


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_jpeg_is_close_to_opencv(quality: int) -> None:
    """They differ in rounding and chroma upsampling, by much less than the compression error."""
    image = dead_leaves(np.random.default_rng(1), 70, 90)
    expected = sensor.compress_jpeg(image, quality).astype(float)
    batch = torch.tensor(image).permute(2, 0, 1)[None]
    simulated = simulate_jpeg(batch, torch.tensor([quality]))[0].permute(1, 2, 0).double().numpy()
    error, loss = np.abs(simulated - expected).mean(), np.abs(image - expected).mean()
    assert error < 0.35 * loss
    assert error < 1.2


def test_frame_side_inverts_background_size() -> None:
    for side in (31, 64):
        batch = _batch(NOISELESS, range(3), side)
        assert NOISELESS.frame_side(batch.background.shape[-1]) == side
        assert render_batch(batch, NOISELESS)[0].shape == (3, 3, side, side)
