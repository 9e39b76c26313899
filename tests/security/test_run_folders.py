"""Untrusted run folders: config, results and tables."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from deblurlab.checkpoints.load import load_model
from deblurlab.errors import UserError
from deblurlab.reporting import print_results, write_evaluation
from deblurlab.reporting.commands import table
from deblurlab.reporting.sweep import read_jobs
from deblurlab.runs.folder import Run
from security.hostile import bounded

HOSTILE_NAME = "<script>alert(1)</script>'\"&[/bold][link=x]$\\frac{"
NET, TOUCH = "_target_: deblurlab.models.UNetRes", "{_target_: os.system, command: touch canary}"
BILLION_LAUGHS = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
CONFIGS = {
    "a function": f"model: {TOUCH}",
    "a nested function": f"model: {{{NET}, width: {TOUCH}}}",
    "a function in a list": f"model: {{{NET}, blocks: [{TOUCH}]}}",
    "positional arguments": "model: {_target_: deblurlab.models.UNetRes, _args_: [4]}",
    "a partial": "model: {_target_: deblurlab.models.UNetRes, _partial_: true}",
    "the environment": "model: {_target_: deblurlab.models.UNetRes, norm: '${oc.env:HOME}'}",
    "an interpolation": "x: os.system\nmodel: {_target_: '${x}', command: touch canary}",
    "an alias": "x: &x {_target_: deblurlab.models.UNetRes}\nmodel: *x",
    "a merge": "x: &x {_target_: deblurlab.models.UNetRes}\nmodel: {<<: *x}",
    "a tag": "model: !!python/object/apply:os.system ['touch canary']",
    "a tagged name": "model: {_target_: !!python/name:os.system ''}",
    "billion laughs": "\n".join(["a0: &a0 x", *BILLION_LAUGHS, "model: *a9"]),
    "depth": "model: " + "[" * 50_000,
    "no text": "model: \0",
    "a list": "- 1",
    "nothing": "",
    "another class": "model: {_target_: deblurlab.serving.service.RestoreService}",
    "an absurd size": "model: {_target_: deblurlab.models.UNetRes, width: 1000000000}",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run with a checkpoint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "samples").mkdir()
    torch.save({"state_dict": {"generator.x": torch.zeros(1)}}, tmp_path / "run" / "checkpoints" / "best.ckpt")
    (tmp_path / "run" / "overrides.yaml").write_text("[]")
    return Run(tmp_path / "run")


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_with_more_than_plain_values_is_refused(kind: str, run: Run) -> None:
    run.config_file.write_text(CONFIGS[kind])
    with bounded(), pytest.raises(UserError, match=str(run.folder)):
        load_model(run.folder)
    assert not Path("canary").exists()


@pytest.mark.parametrize("kind", ["billion laughs", "depth", "a tag"])
@pytest.mark.parametrize("file", ["config.yaml", "overrides.yaml"])
def test_a_sweep_lists_a_job_with_a_hostile_config_as_broken(file: str, kind: str, run: Run) -> None:
    run.config_file.write_text("model: {}")
    (run.folder / file).write_text(CONFIGS[kind])
    with bounded():
        (job,) = read_jobs(run.folder.parent)
        assert job.state == "broken"
    assert not Path("canary").exists()


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "{", "9" * 10_000, "\0"])
def test_results_with_another_structure_are_refused(text: str, run: Run) -> None:
    run.results_file.write_text(text)
    with pytest.raises(UserError, match="results.json"):
        run.results()


def _write(run: Run, name: str) -> None:
    """Write results of an evaluation in which every name is `name`."""
    metrics = {"images": 1, "failed": 0, "untouched": 0, "psnr": 3.0, "psnr_blurred": 2.0, "standard_error": {}}
    results: dict[str, Any] = {
        "name": name, "options": {"restorer": name, "psf": name, "data": name}, "sets": {name: metrics},
        "settings": {"restorer": {"path": name}, "psf": {name: name}}, "protocol": {name: name},
        "unavailable": {"ssim": name}, "failed": {name: name}, "seconds_per_megapixel": 1.0, "peak_memory_mib": 1.0,
    }  # fmt: skip
    run.results_file.write_text(json.dumps(results))
    run.config_file.write_text(f"# {name}")
    with run.per_image_file.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["set", "image", "psnr", "psnr_blurred", name], [name, f"{name}/x", "3", "2", name]]
        )


def test_a_report_shows_names_as_text(run: Run) -> None:
    _write(run, HOSTILE_NAME)
    write_evaluation(run)
    page = run.report_file.read_text()
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;&#39;&#34;&amp;") > 9


@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv", "html"])
def test_a_table_shows_names_as_text(form: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    _write(run, f"{HOSTILE_NAME}\n\\write18{{touch canary}}" if form == "latex" else HOSTILE_NAME)
    table([run.folder], form, None)
    output = capsys.readouterr().out
    assert form == "terminal" or "alert" in output
    assert form != "html" or "<script>" not in output
    assert form != "latex" or "\n\\write18" not in output


def test_the_results_of_a_training_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    name, metrics = HOSTILE_NAME, {"images": 1, "psnr": 3.0, "psnr_blurred": 2.0}
    results = {
        "name": name, "options": {"model": name}, "sets": {name: metrics}, "decided": {name: name}, "parameters": 1,
        "macs_256": 1, "steps": 1, "seconds": 1, "seed": 0, "protocol": {name: name}, "unavailable": {},
    }  # fmt: skip
    print_results(results)
    assert "[/bold]" in capsys.readouterr().out
