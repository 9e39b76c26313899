"""Pages of trainings and evaluations: captions, origin of the results, sample images."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from deblurlab.reporting import write_evaluation, write_report
from deblurlab.runs.files import write_csv
from deblurlab.runs.folder import Run

PSNR = {"title": "PSNR", "unit": "dB", "digits": 2, "description": "RGB", "higher_is_better": True}
ENVIRONMENT = {
    "command": ["/opt/lab/src/deblurlab/__main__.py", "train", "loss=l1 + vgg"], "python": "3.11.7",
    "platform": "Linux-6.1", "packages": {"torch": "2.14.1"}, "processors": 16, "threads": 1,
    "gpus": ["NVIDIA H200", "NVIDIA H200"], "version": "0.1.0", "commit": "abc123", "modified": True,
}  # fmt: skip
ROWS = [
    {"set": "a_set", "image": "cat/000001", "psnr": 25.5, "psnr_blurred": 24.25, "blur_length": 7.96},
    {"set": "a_set", "image": "dog", "psnr": 30.0, "psnr_blurred": 31.0, "blur_length": None},
]


def _write(run: Run, kind: dict[str, Any]) -> None:
    run.samples.mkdir(parents=True)
    means = {"images": 2, "failed": 0, "untouched": 0, "psnr": 27.75, "psnr_blurred": 27.625, "standard_error": {}}
    results = {
        "name": "mine", "seed": 1, "protocol": {"psnr": "RGB"}, "metrics": {"psnr": PSNR}, "unavailable": {},
        "sets": {"a_set": means}, "parameters": 10, "macs_256": 10, "finished": "2026-11-29 14:52:11+00:00",
        "version": "0.1.0", "commit": "abc123", "modified": True, **kind,
    }  # fmt: skip
    run.results_file.write_text(json.dumps(results))
    run.environment_file.write_text(json.dumps(ENVIRONMENT))
    write_csv(run.per_image_file, ROWS)
    OmegaConf.save(OmegaConf.create({"module": {"_target_": "deblurlab.training.PairedRestoration"}}), run.config_file)


@pytest.fixture
def training(tmp_path: Path) -> Run:
    run = Run(tmp_path / "mine")
    _write(run, {"options": {"model": "unet"}, "decided": {}, "steps": 20, "seconds": 60.0})
    for name in ("cat-000001", "dog", "unmeasured"):
        write_png(run.samples / f"test_{name}.png", np.zeros((8, 24, 3), np.uint8))
    return run


@pytest.fixture
def evaluation(tmp_path: Path) -> Run:
    run = Run(tmp_path / "evaluated")
    settings = {"restorer": {"path": "/runs/paper/checkpoints/last.ckpt"}, "psf": {}}
    costs = {"seconds_per_megapixel": 1.0, "peak_memory_mib": 10.0}
    _write(run, {"options": {"restorer": "checkpoint"}, "settings": settings, "failed": {}, **costs})
    for rank, name in (("0_worst", "dog"), ("1_best", "cat-000001")):
        write_png(run.samples / f"a_set_{rank}_{name}.png", np.zeros((8, 24, 3), np.uint8))
    return run


def _captions(page: str) -> list[str]:
    found = re.findall(r"<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    return [re.sub(r"<br>", ": ", caption).replace("<b>", "").replace("</b>", "") for caption in found]


def test_captions_of_a_training_have_the_run_and_the_values_of_the_image(training: Run) -> None:
    write_report(training)
    assert _captions(training.report_file.read_text()) == [
        "cat/000001, mine: blur length 8.0 px, PSNR 24.25 → 25.50 dB (+1.25)",
        "dog, mine: PSNR 31.00 → 30.00 dB (-1.00)",
        "unmeasured, mine",
    ]


def test_captions_of_an_evaluation_have_the_restorer_and_the_rank(evaluation: Run) -> None:
    write_evaluation(evaluation)
    assert _captions(evaluation.report_file.read_text()) == [
        "dog, worst of a_set, checkpoint paper: PSNR 31.00 → 30.00 dB (-1.00)",
        "cat/000001, best of a_set, checkpoint paper: blur length 8.0 px, PSNR 24.25 → 25.50 dB (+1.25)",
    ]


def test_the_images_of_an_evaluation_have_the_decimals_of_their_metric(evaluation: Run) -> None:
    write_evaluation(evaluation)
    page = evaluation.report_file.read_text()
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page[page.index('<div id="images"') :])
    assert cells == ["a_set", "cat/000001", "25.50", "24.25", "7.96", "a_set", "dog", "30.00", "31.00", ""]


@pytest.mark.parametrize("kind", ["training", "evaluation"])
def test_a_page_has_command_revision_date_and_hardware(kind: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(kind)
    (write_report if kind == "training" else write_evaluation)(run)
    details = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", run.report_file.read_text()))
    assert details["command"] == "python -m deblurlab train &#39;loss=l1 + vgg&#39;"
    assert details["revision"] == "version 0.1.0, commit abc123, modified"
    assert details["finished"] == "2026-11-29 14:52:11+00:00"
    assert details["software"] == "Python 3.11.7, torch 2.14.1"
    assert details["hardware"] == "2 x NVIDIA H200, 16 processors, 1 thread, Linux-6.1"


def test_a_run_without_environment_has_the_revision_of_its_results(evaluation: Run) -> None:
    evaluation.environment_file.unlink()
    write_evaluation(evaluation)
    details = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", evaluation.report_file.read_text()))
    assert details["revision"] == "version 0.1.0, commit abc123, modified"
    assert {"command", "software", "hardware"}.isdisjoint(details)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_environment_is_an_error(text: str, training: Run) -> None:
    training.environment_file.write_text(text)
    with pytest.raises(UserError, match=r"environment.json is damaged \(.*\): delete it"):
        write_report(training)
