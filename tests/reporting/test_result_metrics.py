"""Metrics of results: titles, units, digits and directions of any metric, and results of earlier versions."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from deblurlab.cli.report import report as report_command
from deblurlab.errors import UserError
from deblurlab.metrics import MetricInfo
from deblurlab.reporting import print_results, sweep_page, write_evaluation
from deblurlab.reporting.ablation import read_ablation, table
from deblurlab.reporting.comparison import comparison
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.statistics import compare
from deblurlab.runs.files import write_csv
from deblurlab.runs.folder import Run

MAE = {"title": "MAE", "unit": "levels", "digits": 1, "description": "mean error", "higher_is_better": False}
PSNR = {"title": "PSNR", "unit": "dB", "digits": 2, "description": "RGB, in dB", "higher_is_better": True}


def _evaluation(folder: Path, name: str, mae: dict[str, float], blurred: float = 8.0, **changed: Any) -> Path:
    """Write an evaluation whose only metric is the user's `mae`, of which lower values are better."""
    run = Run(folder / name)
    run.samples.mkdir(parents=True)
    means = {"mae": float(np.mean(list(mae.values()))), "mae_blurred": blurred}
    results = {
        "name": name, "options": {"restorer": name}, "settings": {"restorer": {}, "psf": {}}, "metrics": {"mae": MAE},
        "protocol": {"range": "rounded", "mae": "mean error"}, "unavailable": {}, "failed": {},
        "sets": {"s": {"images": len(mae), "failed": 0, "untouched": 0, "standard_error": {"mae": 0.034}, **means}},
        "seconds_per_megapixel": 1.0, "peak_memory_mib": 10.0, **changed,
    }  # fmt: skip
    run.results_file.write_text(json.dumps(results))
    rows = [{"set": "s", "image": image, "mae": value, "mae_blurred": blurred} for image, value in mae.items()]
    write_csv(run.per_image_file, rows)
    run.config_file.write_text("metric: {}\n")
    return run.folder


def _results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_a_table_has_the_title_unit_and_digits_of_a_metric_and_gains_are_improvements(tmp_path: Path) -> None:
    folders = [_evaluation(tmp_path, name, {"a": value}) for name, value in (("good", 6.25), ("bad", 9.0))]
    output = tmp_path / "table.csv"
    report_command(["table", *map(str, folders), "--format", "csv", "-o", str(output)])
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [row["MAE (levels)"] for row in rows] == ["6.2", "9.0"]
    assert [row["gain (levels)"] for row in rows] == ["+1.8", "-1.0"]  # lower is better
    assert rows[0]["protocol"] == "range: rounded; mae: mean error"


def test_evaluations_without_a_common_metric_share_a_table(tmp_path: Path) -> None:
    first = _results(_evaluation(tmp_path, "first", {"a": 6.0}))
    values = {**first["sets"]["s"], "psnr": 30.0, "psnr_blurred": 28.0}
    second = {**first, "name": "second", "metrics": {"psnr": PSNR, "mae": MAE}, "sets": {"s": values}}
    rows = comparison([first, second])
    assert [row["PSNR (dB)"] for row in rows] == ["-", "30.00"]
    assert [row["gain (levels)"] for row in rows] == ["+2.0", "+2.0"]  # the first metric of the first evaluation


def test_metrics_of_one_class_are_told_apart() -> None:
    results = {"metrics": {"small": MAE, "large": MAE, "psnr": PSNR}, "sets": {}}
    headings = {name: info.heading for name, info in metrics_of(results).items()}
    assert headings == {"small": "MAE (small) (levels)", "large": "MAE (large) (levels)", "psnr": "PSNR (dB)"}


def test_a_comparison_shows_two_digits_of_the_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = _evaluation(tmp_path, "first", {"a": 6.0, "b": 6.0})
    second = _evaluation(tmp_path, "second", {"a": 6.001, "b": 6.003})
    report_command(["compare", str(first), str(second)])
    output = capsys.readouterr().out
    assert "MAE (levels)" in output
    assert "+0.0020" in output
    assert "+0.0010 .. +0.0030" in output


def test_values_of_the_blurred_images_may_differ_in_the_last_digits(tmp_path: Path) -> None:
    """Metrics in float32 depend on the device and the number of threads; other images are an error."""
    first = _evaluation(tmp_path, "first", {"a": 6.0, "b": 6.0})
    same = _evaluation(tmp_path, "same", {"a": 7.0, "b": 7.0}, blurred=8.00001)
    assert compare(first, same)["s"]["mae"].mean == 1.0
    with pytest.raises(UserError, match="restored different images named a"):
        compare(first, _evaluation(tmp_path, "other", {"a": 7.0, "b": 7.0}, blurred=8.01))


def test_other_arguments_of_a_metric_are_not_comparable(tmp_path: Path) -> None:
    first = _evaluation(tmp_path, "first", {"a": 6.0, "b": 6.0})
    scaled = {"protocol": {"range": "rounded", "mae": "mean error (scale=2)"}}
    with pytest.raises(UserError, match="different protocols"):
        compare(first, _evaluation(tmp_path, "second", {"a": 6.0, "b": 6.0}, **scaled))


def test_the_page_of_an_evaluation_is_about_its_first_metric(tmp_path: Path) -> None:
    run = Run(_evaluation(tmp_path, "run", {"p/0": 6.0, "p/1": 7.5}))
    write_evaluation(run)
    page = run.report_file.read_text()
    assert "6.750 ± 0.034" in page  # two digits of the standard error
    assert "+1.2" in page
    assert page.count("<!-- Gain in MAE (levels) -->") == 1


def test_the_results_of_a_run_show_gains_as_improvements(capsys: pytest.CaptureFixture[str]) -> None:
    sets = {"s": {"images": 1, "mae": 6.25, "mae_blurred": 8.0}}
    print_results({
        "name": "mine", "options": {}, "decided": {}, "parameters": 1, "macs_256": 1, "steps": 1, "seconds": 1,
        "seed": 0, "protocol": {}, "metrics": {"mae": MAE, "[b]": {**MAE, "title": "[b]"}}, "sets": sets,
        "unavailable": {"[b]": "no weights"},
    })  # fmt: skip
    output = capsys.readouterr().out
    assert "MAE (levels)" in output
    assert "+1.8" in output
    assert "[b] not available: no weights" in output


def test_results_of_earlier_versions_have_the_metrics_of_their_names() -> None:
    old = {"sets": {"s": {"images": 1, "psnr": 30.0, "psnr_blurred": 28.0, "kid": 0.1}}, "unavailable": {"dists": "x"}}
    found = metrics_of(old)
    assert list(found) == ["psnr", "kid", "dists"]
    assert (found["psnr"].heading, found["psnr"].digits, found["psnr"].higher_is_better) == ("PSNR (dB)", 2, True)
    assert not found["kid"].higher_is_better


@pytest.mark.parametrize("info", [{}, {"title": "x"}, {**MAE, "digits": "2"}, {**MAE, "title": []}])
def test_damaged_properties_are_errors(info: dict) -> None:
    with pytest.raises(UserError, match="metric.x"):
        metrics_of({"metrics": {"x": info}, "sets": {}})


@pytest.mark.parametrize(
    ("width", "digits"), [(0.0034, 4), (0.34, 2), (34.0, 2), (0.0, 2), (float("nan"), 2), (None, 2), (1e-30, 15)]
)
def test_digits_follow_the_width_of_an_interval(width: float | None, digits: int) -> None:
    assert MetricInfo(title="x", digits=2, higher_is_better=True).digits_for(width) == digits


def test_a_sweep_is_compared_and_ranked_in_the_direction_of_its_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for loss, mae in (("l1", 6.0), ("a", 9.0), ("b", 4.5), ("c", 7.0)):
        run = Run(_evaluation(tmp_path, loss, {"x/0": mae, "y/0": mae + 1}, seed=1, seconds=3600, parameters=1000))
        OmegaConf.save(OmegaConf.create([f"loss={loss}"]), run.overrides_file)
    ablation = read_ablation(tmp_path, {"loss": "l1"})
    rows = {row["loss"]: row for row in table(ablation)}
    assert rows["b"]["MAE (levels)"] == "5.0"
    assert rows["b"]["difference in MAE (levels)"] == "-1.5 (-1.5 .. -1.5)"
    monkeypatch.setattr(sweep_page, "_MAX_CONFIGURATIONS", 2)
    selected = sweep_page._select(ablation)
    assert sorted(configuration.varied["loss"] for configuration in selected) == ["b", "l1"]  # the lowest, the baseline
