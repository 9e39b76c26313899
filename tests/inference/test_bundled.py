"""Bundled models: size, improvement on photographs, and the training recipe."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import deblurlab
from deblurlab.datasets.synthetic import PHOTOGRAPHS
from deblurlab.inference import bundled
from deblurlab.synthesis import Synthesis

FIXTURE = [
    "data.val=1", "data.blurs=1", "loader.batch_size=2", "loader.workers=0", "augment.size=64",
    "+trainer.limit_test_batches=1", "trainer.max_steps=20", "trainer.val_check_interval=20",
    "trainer.log_every_n_steps=1", "trainer.precision=32-true", "scheduler.warmup=0",
]  # fmt: skip
CURVE = [
    0.0143524, 0.0779782, 0.0547634, 0.113751, 0.0955338, 0.0843594, 0.0460268, 0.0919586, 0.022543, 0.0843018,
    0.0270486, 0.0372403, 0.0148282, 0.0396461, 0.0196226, 0.0407825, 0.0297903, 0.0904346, 0.024787, 0.0874811,
]  # fmt: skip
"""Recorded L1 loss of the first 20 steps of the recipe."""


def test_the_recipe_follows_the_recorded_curve(train: Callable[..., Path], data_root: Path) -> None:
    run = train("experiment=bundled", f"data.root={data_root}", "name=run", *FIXTURE, smoke=False)
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
