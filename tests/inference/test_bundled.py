"""Bundled model: size, improvement on photographs, and the training recipe."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import deblurlab
from deblurlab.datasets.synthetic import PHOTOGRAPHS
from deblurlab.inference import bundled
from deblurlab.media.images import write_png
from deblurlab.synthesis import Synthesis
from deblurlab.synthesis.scenes import dead_leaves

FIXTURE = [
    *(f"data.sets.{name}.{key}" for name in ("scenes", "photographs") for key in ("train=8", "val=1", "blurs=1")),
    *(f"data.sets.{name}.{side}=96" for name in ("scenes", "photographs") for side in ("height", "width")),
    "data.sets.photographs.source_side=[200,300]", "loader.batch_size=2", "loader.workers=0", "augment.size=64",
    "+trainer.limit_test_batches=1", "trainer.max_steps=20", "trainer.val_check_interval=20",
    "trainer.log_every_n_steps=1", "trainer.precision=32-true", "scheduler.warmup=0",
]  # fmt: skip
CURVE = [
    0.0524936, 0.128467, 0.0134806, 0.0311191, 0.00479586, 0.0584664, 0.0174898, 0.0434437, 0.0371167, 0.0310293,
    0.0532388, 0.0323921, 0.00381153, 0.0968787, 0.0828727, 0.0526989, 0.043714, 0.0378433, 0.0450499, 0.0292213,
]  # fmt: skip
"""Recorded L1 loss of the first 20 steps of the recipe."""


def test_the_recipe_follows_the_recorded_curve(train: Callable[..., Path], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(3):
        write_png(photos / f"{seed}.png", dead_leaves(np.random.default_rng(seed), 300, 320, texture=0.5))
    roots = [f"data.sets.{name}.root={tmp_path}" for name in ("scenes", "photographs")]
    folder = f"data.sets.photographs.source_images={photos}"
    run = train("experiment=bundled", *roots, folder, "name=run", *FIXTURE, smoke=False)
    with (run / "metrics.csv").open() as file:
        curve = [float(row["loss/l1"]) for row in csv.DictReader(file) if row["loss/l1"]]
    assert curve == pytest.approx(CURVE, rel=2e-3)


@pytest.mark.parametrize("name", bundled.names())
def test_the_models_are_small_and_local(name: str) -> None:
    restorer = deblurlab.Restorer.load(name, device="cpu")
    assert restorer.engine.cost()["parameters"] < 5_000_000
    assert restorer.engine.receptive_radius is not None
    assert sum(file.stat().st_size for file in bundled.weights_folder(name).iterdir()) < 10_000_000


def _gain(restored: np.ndarray, blurred: np.ndarray, sharp: np.ndarray) -> float:
    """Return the improvement of PSNR in dB."""
    before, after = (np.mean((image.astype(np.float64) - sharp) ** 2) for image in (blurred, restored))
    return float(10 * np.log10(before / after))


def test_fidelity_improves_photographs_it_was_not_trained_on() -> None:
    """Mean over five photographs, each with one camera shake as in the default test set."""
    restorer = deblurlab.Restorer.load("fidelity", device="cpu")
    shake = Synthesis(blur_length=(3, 15), rotation=(0, 0.5), objects=(0, 0), softness=(0, 0))
    gains = []
    for i, photograph in enumerate(PHOTOGRAPHS.values()):
        blurred, sharp, _ = shake.photo_pair(np.random.default_rng(i), photograph()[:400, :400])
        gains.append(_gain(restorer.restore(blurred), blurred, sharp))
    assert np.mean(gains) > 0.5
