"""The models that come along: their size, what they do to photographs, and the recipe that made them."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

FIXTURE = [
    "data.sets.shake.train=6", "data.sets.video.train=6", "loader.batch_size=2", "loader.workers=0",
    "loader.schedule=[]", *(f"data.sets.{name}.{key}" for name in ("shake", "video") for key in ("val=1", "blurs=1")),
    "augment.size=64", "+trainer.limit_test_batches=1", "trainer.max_steps=20",
    "trainer.val_check_interval=20", "trainer.log_every_n_steps=1", "trainer.precision=32-true",
]  # fmt: skip
CURVE = []
"""l1 of 20 steps, as recorded when the weights were made."""


def test_the_recipe_follows_the_recorded_curve(train: Callable[..., Path], data_root: Path) -> None:
    run = train("experiment=bundled", f"data.root={data_root}", "name=run", *FIXTURE, smoke=False)
    with (run / "metrics.csv").open() as file:
        curve = [float(row["loss/l1"]) for row in csv.DictReader(file) if row["loss/l1"]]
    print(curve)
    assert curve == pytest.approx(CURVE, rel=1e-3)
