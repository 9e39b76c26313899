"""`deblurlab report index`: one row per run and test set."""

import json
import re
from html import unescape
from pathlib import Path

import pytest

from deblurlab.cli.report import report
from deblurlab.errors import UserError
from deblurlab.reporting.index import write_index
from deblurlab.runs.folder import Run
from reporting.run_folders import write_restoration, write_training


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    write_training(Run(folder / "sweep" / "l1+vgg"))
    write_restoration(Run(folder / "evaluated"))
    return folder


def _table(page: str) -> list[dict[str, str]]:
    """Return the cells of each row by the heading of their column."""
    headings, *rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    names = [unescape(name) for name in re.findall(r"<button[^>]*>(.*?)</button>", headings)]
    cells = (re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows)
    return [dict(zip(names, map(unescape, row), strict=True)) for row in cells]


def test_trainings_and_evaluations_have_values_gains_and_links(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trained = runs / "sweep" / "l1+vgg"
    (trained / "report.html").write_text("")
    report(["index", str(runs)])
    assert capsys.readouterr().out == f"{runs / 'index.html'}\n"
    evaluation, training = _table((runs / "index.html").read_text())
    assert training == {
        "run": '<a href="./sweep/l1%2Bvgg/report.html">sweep/l1+vgg</a>', "kind": "training", "state": "finished",
        "model or restorer": "unet", "loss": "", "data": "", "set": "a_set", "PSNR (dB)": "27.75",
        "gain in PSNR": "+0.12", "parameters": "10", "date": "2026-11-29 14:52:11+00:00",
    }  # fmt: skip
    assert (evaluation["run"], evaluation["kind"]) == ("evaluated", "evaluation")  # without a report, no link
    assert evaluation["model or restorer"] == "checkpoint paper"


def test_unfinished_runs_have_the_options_of_their_command(runs: Path) -> None:
    training, evaluation = runs / "sweep" / "l1+vgg", runs / "evaluated"
    for run, words in ((training, "[loss=l1, +model=unet, seed=1]"), (evaluation, "[restorer=wiener, data=gopro]")):
        (run / "results.json").unlink()
        (run / "overrides.yaml").write_text(words)
    (training / "config.yaml").write_text("trainer: {max_steps: 20}")
    (training / "metrics.csv").write_text("step,epoch\n5,0\n")
    (evaluation / "parts").mkdir()
    (evaluation / "parts" / "1-of-1.jsonl").write_text("{}\n{}\n")
    second, first = _table(write_index(runs).read_text())
    assert re.fullmatch(r"unfinished: step 5 of 20, last update \d+ seconds ago", first["state"])
    assert (first["kind"], first["model or restorer"], first["loss"]) == ("training", "unet", "l1")
    assert second["state"] == "unfinished: 2 images measured"
    assert (second["kind"], second["model or restorer"], second["data"]) == ("evaluation", "wiener", "gopro")


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ("{", r"broken: .*results.json is damaged .*"),
        ("{}", r"broken: KeyError 'options'"),
        ('{"options": {}, "protocol": {}, "sets": {"s": {"psnr": "<b>"}}}', r"broken: ValueError .*"),
    ],
)
def test_broken_runs_are_listed_with_their_error(results: str, message: str, runs: Path) -> None:
    (runs / "sweep" / "l1+vgg" / "results.json").write_text(results)
    evaluation, broken = _table(write_index(runs).read_text())
    assert re.fullmatch(message, broken["state"])
    assert evaluation["PSNR (dB)"] == "27.75"


def test_each_test_set_has_a_row_and_different_protocols_are_named(runs: Path) -> None:
    file = runs / "evaluated" / "results.json"
    results = json.loads(file.read_text())
    results["sets"]["other"] = {"images": 1, "psnr": 30.0}  # no blurred value, so no gain
    results["protocol"] = {"psnr": "Y", "border": "4"}
    file.write_text(json.dumps(results))
    page = write_index(runs).read_text()
    assert [(row["set"], row["PSNR (dB)"], row["gain in PSNR"]) for row in _table(page)] == [
        ("a_set", "27.75", "+0.12"), ("other", "30.00", "-"), ("a_set", "27.75", "+0.12"),
    ]  # fmt: skip
    assert "The runs differ in the protocol (psnr)" in page


def test_names_are_text_and_links_stay_below_the_folder(runs: Path) -> None:
    (runs / "evaluated").rename(runs / "javascript:alert(1)<b>")
    (runs / "javascript:alert(1)<b>" / "report.html").write_text("")
    page = write_index(runs).read_text()
    assert 'href="./javascript%3Aalert%281%29%3Cb%3E/report.html"' in page
    assert "alert(1)<b>" not in page


def test_a_folder_without_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no runs"):
        write_index(tmp_path)
