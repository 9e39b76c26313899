"""Metrics from outside the package: a class of the user's and one of torchmetrics, in trainings, tests and reports."""

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblurlab.cli.report import report
from deblurlab.media.images import read_image
from deblurlab.metrics.measurement import RESERVED_NAMES

MODULE = '''
import torch
from torchmetrics import Metric

from deblurlab.metrics import ImageMetric


class MAE(ImageMetric):
    """Mean absolute error in levels."""

    title, unit, digits, higher_is_better = "MAE", "levels", 3, False

    def update(self, restored, sharp):
        self.add(255 * (restored - sharp).abs().mean(dim=(1, 2, 3)))


class Level(Metric):
    """Difference of the mean levels of two sets of images."""

    higher_is_better = False

    def __init__(self):
        super().__init__()
        self.add_state("levels", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, images, real):
        self.levels[int(real)] += images.double().mean(dim=(1, 2, 3)).sum()
        self.counts[int(real)] += len(images)

    def compute(self):
        return (self.levels / self.counts).diff().abs()
'''
OPTIONS = {
    "mine": "_target_: my_package.MAE",
    "theirs": "{_target_: torchmetrics.image.PeakSignalNoiseRatio, data_range: 1.0, title: PSNR of torchmetrics}",
    "tv": "{_target_: torchmetrics.image.TotalVariation, digits: 0}",
    "level": "_target_: my_package.Level",
    "undirected": "{_target_: torchmetrics.MeanMetric}",
    "absent": "{_target_: my_package.Absent}",
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments that add a config folder with metrics of a package on PYTHONPATH."""
    (tmp_path / "my_package.py").write_text(MODULE)
    (tmp_path / "conf" / "metric").mkdir(parents=True)
    for name, node in OPTIONS.items():
        (tmp_path / "conf" / "metric" / f"{name}.yaml").write_text(f"{name}:\n  {node}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    return ["--config-dir", str(tmp_path / "conf")]


def _results(run: Path) -> dict[str, Any]:
    return json.loads((run / "results.json").read_text())


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_a_training_is_validated_selected_and_tested_by_own_metrics(
    own: list[str], train: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    run = train(
        *own, "metric=psnr+mine+theirs+tv", "callbacks.checkpoints.monitor=val/mine", "trainer.max_steps=4",
        "trainer.val_check_interval=1", "trainer.limit_test_batches=3",
    )  # fmt: skip
    results = _results(run)
    assert results["metrics"]["mine"] == {
        "title": "MAE", "unit": "levels", "digits": 3, "higher_is_better": False,
        "description": "Mean absolute error in levels",
    }  # fmt: skip
    assert list(results["sources"]) == ["my_package"]
    validated = [float(row["val/mine"]) for row in _rows(run / "metrics.csv") if row["val/mine"]]
    assert len(validated) == 4
    assert max(validated) > min(validated)
    assert results["validation"]["mine"] == pytest.approx(min(validated))  # lower is better
    rows = _rows(run / "per_image.csv")
    assert len(rows) == 3
    for row in rows:
        assert float(row["theirs"]) == pytest.approx(float(row["psnr"]), abs=1e-4)
    (means,) = results["sets"].values()
    for metric in ("mine", "theirs", "tv", "mine_blurred"):
        assert means[metric] == pytest.approx(np.mean([float(row[metric]) for row in rows]))
    output, page = capsys.readouterr().out, (run / "report.html").read_text()
    for text in (output, page):
        assert "MAE (levels)" in text
        assert f"{means['mine']:.3f}" in text
        assert f"{means['mine_blurred'] - means['mine']:+.3f}" in text  # a gain is an improvement


def test_an_evaluation_and_its_reports_have_own_metrics(
    own: list[str], evaluate: Callable[..., Path], photographs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*own, "metric=mine+theirs+tv", "limit=2"]
    first = evaluate(*arguments, "name=first").with_name("first")
    second = evaluate(*arguments, "restorer=non_local_means", "psf=none", "name=second").with_name("second")
    rows, others = _rows(first / "per_image.csv"), _rows(second / "per_image.csv")
    for row in rows:
        name, number = row["image"].split("/")
        blurred, sharp = (read_image(photographs / name / k / f"{number}.png") for k in ("blur_gamma", "sharp"))
        error = np.abs(blurred.astype(float) - sharp).mean()
        assert float(row["mine"]) == float(row["mine_blurred"]) == pytest.approx(error, rel=1e-6)
        variation = sum(np.abs(np.diff(blurred / 255, axis=axis)).sum() for axis in (0, 1))
        assert float(row["tv"]) == pytest.approx(variation, rel=1e-4)
    means = [_results(run)["sets"]["photographs"] for run in (first, second)]
    capsys.readouterr()
    report(["table", str(first), str(second), "--format", "csv"])
    table = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["MAE (levels)"] for row in table] == [f"{mean['mine']:.3f}" for mean in means]
    assert table[0]["gain (levels)"] == "+0.000"
    assert table[1]["gain (levels)"] == f"{means[0]['mine'] - means[1]['mine']:+.3f}"
    assert "PSNR of torchmetrics" in table[0]
    assert list(_results(first)["sources"]) == ["my_package"]
    report(["compare", str(first), str(second)])
    assert "MAE (levels)" in capsys.readouterr().out
    assert float(others[0]["mine"]) != float(rows[0]["mine"])


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("undirected", "metric.undirected needs higher_is_better: true or false, in its class or its YAML file"),
        ("psnr+absent", r"_target_: my_package.Absent doesn't exist: my_package \(.*\) has no Absent"),
        ("psnr+nosuch", r"unknown metric nosuch in metric=psnr\+nosuch; known: .*mine"),
        ("nosuch", "there is no option nosuch of metric: .*mine"),
    ],
)
def test_invalid_choices_are_one_line_errors(
    own: list[str], train: Callable[..., Path], capsys: pytest.CaptureFixture[str], metric: str, message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        train(*own, f"metric={metric}")
    output = capsys.readouterr().err if isinstance(end.value.code, int) else str(end.value.code)
    assert "Traceback" not in output
    assert any(re.search(message, line) for line in output.splitlines())


def test_a_column_that_is_no_metric_is_a_reserved_name(evaluate: Callable[..., Path]) -> None:
    run = evaluate("metric=psnr", "limit=1")
    assert set(_rows(run / "per_image.csv")[0]) - {"psnr", "psnr_blurred"} <= RESERVED_NAMES
    assert set(_results(run)["sets"]["photographs"]) - {"psnr", "psnr_blurred"} <= RESERVED_NAMES


def test_a_metric_of_sets_is_enough(
    own: list[str], evaluate: Callable[..., Path], train: Callable[..., Path], photographs: Path
) -> None:
    """Without metrics of single images there is no gain to rank samples by, and nothing to count images by."""
    run = train(*own, "metric=level", "callbacks.checkpoints.monitor=val/level", "trainer.limit_test_batches=1.0")
    (means,) = _results(run)["sets"].values()
    assert means["images"] == len(_rows(run / "per_image.csv")) == 5
    assert means.keys() == {"images", "level", "level_blurred"}
    evaluation = evaluate(*own, "metric=level")
    images = [[read_image(file) for file in photographs.glob(f"*/{kind}/*.png")] for kind in ("blur_gamma", "sharp")]
    levels = [np.mean([image.mean() / 255 for image in each]) for each in images]
    means = _results(evaluation)["sets"]["photographs"]
    assert means["level"] == means["level_blurred"] == pytest.approx(abs(levels[0] - levels[1]), abs=1e-6)
    assert means["images"] == 5
