"""`deblurlab report sweep`: states, rows, intervals and the page."""

import csv
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from deblurlab.cli import main
from deblurlab.cli.report import report
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from deblurlab.reporting.ablation import read_ablation, table
from deblurlab.reporting.statistics import bootstrap_over_seeds
from deblurlab.reporting.sweep import Job, _start_time, configurations, read_jobs
from deblurlab.runs.folder import Run

GAINS = {"l1": 0.0, "l1+vgg": 0.5}


def _write(folder: Path, loss: str, seed: int, **changed: Any) -> Path:
    """Write a finished run on four images of two photographs; value = f(image) + gain of the loss + seed / 10."""
    run = folder / f"loss-{loss}_seed-{seed}"
    (run / "samples").mkdir(parents=True)
    config = {"data": {"root": "a", "train": 4}, "trainer": {"max_steps": 20}, **changed.get("config", {})}
    OmegaConf.save(OmegaConf.create(config), run / "config.yaml")
    OmegaConf.save(OmegaConf.create(["+sweep=losses", f"loss={loss}", f"seed={seed}"]), run / "overrides.yaml")
    scores = {f"{p}/{i}": 20 + 3 * n + i + GAINS[loss] + seed / 10 for n, p in enumerate("ab") for i in range(2)}
    with (run / "per_image.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["set", "image", "psnr", "psnr_blurred"])
        writer.writerows([["photographs", image, value, 19.0] for image, value in scores.items()])
    results = {
        "name": run.name, "seed": seed, "seconds": 1800, "parameters": 1_200_000, "protocol": {"psnr": "RGB"},
        "sets": {"photographs": {"images": 4, "psnr": float(np.mean(list(scores.values()))), "psnr_blurred": 19.0}},
        **changed.get("results", {}),
    }  # fmt: skip
    (run / "results.json").write_text(json.dumps(results))
    (run / "metrics.csv").write_text(
        "step,epoch,val/psnr,loss/l1\n" + "".join(f"{s},0,{20 + s / 10 + seed},\n{s + 1},0,,0.1\n" for s in (10, 20))
    )
    write_png(run / "samples" / "test_a-0.png", np.full((8, 24, 3), 7 * seed, np.uint8))
    return run


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "losses"
    for loss in GAINS:
        for seed in (1, 2, 3):
            _write(folder, loss, seed)
    return folder


def test_rows_are_configurations_with_means_over_seeds(sweep: Path) -> None:
    rows = {row["loss"]: row for row in table(read_ablation(sweep, {"loss": "l1"}))}
    assert rows.keys() == {"l1", "l1+vgg"}
    assert list(rows["l1"]) == ["loss", "seeds", "PSNR (dB)", "difference in PSNR (dB)", "parameters", "hours"]
    # The mean over images is 22; the seeds add 0.1, 0.2 and 0.3, with a standard deviation of 0.1.
    assert rows["l1"]["PSNR (dB)"] == "22.20 ± 0.10"
    assert rows["l1+vgg"]["PSNR (dB)"] == "22.70 ± 0.10"
    assert rows["l1"]["difference in PSNR (dB)"] == "baseline"
    mean, low, high = map(float, re.findall(r"[+-][\d.]+", rows["l1+vgg"]["difference in PSNR (dB)"]))
    assert mean == 0.5
    assert 0.3 <= low < 0.5 < high <= 0.7  # only the seeds differ
    assert (rows["l1"]["seeds"], rows["l1"]["parameters"], rows["l1"]["hours"]) == ("3", "1.20 M", "0.50")


def test_the_baseline_can_be_chosen(sweep: Path) -> None:
    rows = {row["loss"]: row for row in table(read_ablation(sweep, {"loss": "l1+vgg"}))}
    assert rows["l1"]["difference in PSNR (dB)"].startswith("-0.50 (")
    with pytest.raises(UserError, match=r"no configuration has loss=mse: choose --baseline from loss=l1; loss=l1\+vgg"):
        read_ablation(sweep, {"loss": "mse"})


def test_an_interval_over_seeds_equals_its_definition() -> None:
    """Compare with resampling in loops over groups and seeds."""
    random = np.random.default_rng(1)
    groups, sizes = list("abcde"), (1, 3, 2, 2, 4)

    def trained(shift: float) -> dict[str, list[float]]:
        return {
            g: (shift + random.normal() + random.normal(size=n)).tolist() for g, n in zip(groups, sizes, strict=True)
        }

    sides = [[trained(shift) for _ in range(3)] for shift in (0.0, 1.0)]
    found = bootstrap_over_seeds(*sides)
    everything = [np.mean([value for scores in side for of in scores.values() for value in of]) for side in sides]
    assert found.mean == pytest.approx(everything[1] - everything[0])
    assert (found.images, found.groups) == (12, 5)
    resampled = []
    for _ in range(4000):
        selected = random.choice(groups, len(groups))
        seeds = [[side[i] for i in random.integers(3, size=3)] for side in sides]
        means = [np.mean([value for scores in side for g in selected for value in scores[g]]) for side in seeds]
        resampled.append(means[1] - means[0])
    assert found.standard_error == pytest.approx(np.std(resampled), rel=0.06)
    assert [found.low, found.high] == pytest.approx(np.percentile(resampled, [2.5, 97.5]), abs=0.1)


def test_every_job_is_listed_with_its_state(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    without_images, broken, running, early = (_write(sweep, "l1", seed) for seed in (6, 7, 8, 9))
    (without_images / "per_image.csv").unlink()
    (broken / "results.json").write_text("{")
    (running / "results.json").unlink()
    for name in ("results.json", "metrics.csv"):
        (early / name).unlink()
    states = {job.run.folder.name: (job.state, job.detail) for job in read_jobs(sweep)}
    assert [state for state, _ in states.values()].count("finished") == 6
    assert states[broken.name][0] == states[without_images.name][0] == "broken"
    assert "per_image.csv" in states[without_images.name][1]
    assert "results.json is damaged" in states[broken.name][1]
    assert re.fullmatch(r"step 21 of 20, last update \d+ seconds ago", states[running.name][1])
    assert states[early.name] == ("unfinished", "no step logged yet")
    assert {row["seeds"] for row in table(read_ablation(sweep, {}))} == {"3"}
    sys.argv = ["deblurlab", "report", "sweep", str(sweep)]
    main()
    output = capsys.readouterr().out
    assert f"{broken.name} broken" in output
    assert f"{early.name} unfinished: no step logged yet" in output


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"config": {"data": {"root": "a", "train": 5}}}, r"differ in data and are not .*: data.train is 4 and 5"),
        ({"results": {"protocol": {"psnr": "Y"}}}, r"differ in protocol and are not .*: protocol.psnr is RGB and Y"),
        ({"results": {"sets": {"other": {}}}}, r"differ in test sets and .*: \['photographs'\] and \['other'\]"),
    ],
)  # fmt: skip
def test_jobs_of_other_data_or_protocols_are_not_averaged(sweep: Path, changed: dict, message: str) -> None:
    _write(sweep, "l1", 4, **changed)
    with pytest.raises(UserError, match=message):
        configurations(read_jobs(sweep))


def test_two_jobs_with_the_same_seed_are_an_error(sweep: Path) -> None:
    _write(sweep / "again", "l1", 2)
    with pytest.raises(UserError, match="have the same settings and seed 2 and would be counted twice"):
        read_ablation(sweep, {})


def test_a_folder_without_runs_or_finished_runs_is_an_error(tmp_path: Path, sweep: Path) -> None:
    with pytest.raises(UserError, match="contains no runs"):
        read_jobs(tmp_path / "none")
    for file in sweep.rglob("results.json"):
        file.unlink()
    with pytest.raises(UserError, match="none of the jobs has finished"):
        read_ablation(sweep, {})


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("markdown", "| loss | seeds | PSNR (dB) | difference in PSNR (dB) | parameters | hours |\n| --- |"),
        ("latex", "\\begin{tabular}{lrrrrr}\n\\toprule\nloss & seeds & PSNR (dB)"),
    ],
)
def test_formats_for_publications(sweep: Path, form: str, expected: str, tmp_path: Path) -> None:
    output = tmp_path / "table"
    sys.argv = ["deblurlab", "report", "sweep", str(sweep), "--format", form, "-o", str(output)]
    main()
    text = output.read_text()
    assert expected in text
    assert ("22.20 $\\pm$ 0.10" if form == "latex" else "22.20 ± 0.10") in text


def test_a_csv_file_holds_unrounded_numbers(sweep: Path, tmp_path: Path) -> None:
    report(["sweep", str(sweep), "--format", "csv", "-o", str(tmp_path / "table.csv")])
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = {
            row.pop("loss"): {key: value and float(value) for key, value in row.items()} for row in csv.DictReader(file)
        }
    expected = {"photographs/psnr": 22.2, "photographs/psnr deviation": 0.1, "parameters": 1.2e6, "seconds": 1800}
    assert rows["l1"] == pytest.approx({"seeds": 3, **expected} | {k: v for k, v in rows["l1"].items() if v == ""})
    assert rows["l1+vgg"]["photographs/psnr difference"] == pytest.approx(0.5)
    assert rows["l1+vgg"]["photographs/psnr low"] < 0.5 < rows["l1+vgg"]["photographs/psnr high"]


def test_the_page_has_the_table_charts_curves_and_samples(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.argv = ["deblurlab", "report", "sweep", str(sweep)]
    main()
    page = (sweep / "report.html").read_text()
    assert "22.70 ± 0.10" in page
    assert page.count("<svg") == 2  # differences, and the curves of PSNR
    curves = page[page.index("<h2>Curves</h2>") : page.rindex("</svg>")]
    markers = re.findall(r'<use [^>]*style="fill: (#\w+); stroke: \1"', curves)
    assert [markers.count(colour) for colour in dict.fromkeys(markers)] == [
        3,
        3,
    ]  # two points and the entry in the legend
    assert page.count('class="compare"') == 2  # one sample of each configuration
    assert page.count('class="compare choice"') == 1
    assert page.count("data:image/webp") == 6  # blurred, restored and sharp of each; none for the choice
    assert page.count("<option") == 4
    assert not re.search(r"(src|href|url)[=(]\W?http", page)  # opens without a network
    assert "report.html" in capsys.readouterr().out


def test_a_search_is_plotted_as_parallel_coordinates(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in sweep.rglob("results.json"):
        file.unlink()
    for i in range(15):
        run = _write(sweep, "l1", 20 + i)
        words = ["loss=l1", f"loss.vgg.weight={10 ** (-i / 5):.4g}", f"seed={20 + i}"]
        OmegaConf.save(OmegaConf.create(words), run / "overrides.yaml")
    sys.argv = ["deblurlab", "report", "sweep", str(sweep)]
    main()
    page = (sweep / "report.html").read_text()
    assert "<h2>Search</h2>" in page
    assert "the baseline and the best, 12 of 15" in page
    drawing = page[page.index("<h2>Search</h2>") : page.index("<h2>Curves</h2>")]
    assert drawing.count("<!-- loss.vgg.weight -->") == drawing.count("<!-- PSNR (dB), photographs -->") == 1
    assert drawing.count("<!-- 0.001585 -->") == 1  # the smallest weight, 10^-2.8, at the bottom of its axis
    assert page.count('class="compare"') == 12


def test_watch_prints_the_table_repeatedly(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = {file: file.read_text() for file in sweep.rglob("results.json")}
    for file in results:
        file.unlink()
    calls = []

    def sleep(seconds: float) -> None:
        calls.append(seconds)
        if len(calls) > 1:
            raise KeyboardInterrupt
        for file, text in results.items():
            file.write_text(text)

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("sys.argv", ["deblurlab", "report", "sweep", str(sweep), "--watch"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    output = capsys.readouterr().out
    assert output.index("none of the jobs has finished") < output.index("22.70 ± 0.10")


@pytest.mark.slow
def test_a_sweep_of_losses_ends_in_a_table(train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["-m", "+sweep=losses", "loss=l1,l1+0.01*adv", "seed=1,2", "trainer.limit_test_batches=2"]
    train(*words, "name=null")
    assert len(list(Path("runs/losses").glob("*/results.json"))) == 4
    rows = table(read_ablation(Path("runs/losses"), {}))
    assert [(row["loss"], row["seeds"]) for row in rows] == [("l1", "2"), ("l1+0.01*adv", "2")]


def test_finished_jobs_are_ordered_by_their_results(tmp_path: Path) -> None:
    """The start is the end minus the duration, whatever the times of the files are, so that copies keep the order."""
    results = {"finished": "2026-11-29 12:00:10+00:00", "seconds": 10.0}
    job = Job(Run(tmp_path), "finished", "", results=results)
    assert _start_time(job) == datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp()
    assert _start_time(Job(Run(tmp_path / "empty"), "unfinished", "")) == 0
