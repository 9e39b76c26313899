"""Pages of trainings and evaluations: captions, origin of the results, sample images."""

import base64
import io
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from deblurlab.reporting import write_evaluation, write_report
from deblurlab.reporting.history import Frame, histories
from deblurlab.runs.folder import Run
from reporting.run_folders import write_restoration, write_training


@pytest.fixture
def training(tmp_path: Path) -> Run:
    run = Run(tmp_path / "mine")
    write_training(run, names=("cat-000001", "dog", "unmeasured"))
    return run


@pytest.fixture
def evaluation(tmp_path: Path) -> Run:
    run = Run(tmp_path / "evaluated")
    write_restoration(run)
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


def test_pages_contain_the_library_that_zooms_with_its_licence(training: Run, evaluation: Run) -> None:
    write_report(training)
    write_evaluation(evaluation)
    library = (files("deblurlab.reporting") / "panzoom.min.js").read_text()
    assert "Permission is hereby granted, free of charge" in library
    for run in (training, evaluation):
        page = run.report_file.read_text()
        assert page.count(library.strip()) == 1
        assert not re.search(r"(src|href|url)[=(]\W?http", page)  # opens without a network


def _write_validation(
    run: Run, steps: Sequence[int], colours: Sequence[int], names: Sequence[str], side: int = 8
) -> None:
    """Write samples whose views are of one colour each; that of the second one is its step."""
    run.metrics_file.write_text("step,epoch,val/loss/l1\n")
    for name in names:
        for step in steps:
            levels = [colours[0], step, *colours[1:]]
            row = np.concatenate([np.full((side, side, 3), level, np.uint8) for level in levels], axis=1)
            write_png(run.samples / f"val_{name}_{step:07d}.png", row)


def _levels(frames: Sequence[Frame]) -> list[int]:
    """Return the level of each picture; lossy compression of one colour changes it by less than 2."""
    found = []
    for frame in frames:
        with Image.open(io.BytesIO(base64.b64decode(frame.url.partition(",")[2]))) as image:
            found.append(round(np.asarray(image).mean() / 5) * 5)
    return found


def test_validation_images_are_shown_over_time(training: Run) -> None:
    """Steps 10 to 150 are 15, of which 8 are two apart."""
    _write_validation(training, range(10, 151, 10), (0, 250), [f"v_{i}" for i in range(5)])
    found = histories(training)
    assert [history.image for history in found] == ["v_0", "v_2", "v_4"]
    steps = list(range(10, 151, 20))
    assert [frame.label for frame in found[0].frames] == ["blurred", *(f"step {step}" for step in steps), "sharp"]
    assert _levels(found[0].frames) == [0, *steps, 250]
    write_report(training)
    assert training.report_file.read_text().count('<figure class="history"') == 3


def test_views_of_unpaired_training_have_no_reference(training: Run) -> None:
    _write_validation(training, [10, 20], (0, 60, 70, 80, 90), ["v"])
    text = training.config_file.read_text().replace("PairedRestoration", "CycleRestoration")
    training.config_file.write_text(text)
    (history,) = histories(training)
    assert [frame.label for frame in history.frames] == ["blurred", "step 10", "step 20"]
    assert _levels(history.frames) == [0, 10, 20]


def test_validation_images_without_reference_have_two_views(training: Run) -> None:
    _write_validation(training, [10, 20], (0,), ["v"])
    training.metrics_file.write_text("step,epoch,val/sharpness\n")
    (history,) = histories(training)
    assert _levels(history.frames) == [0, 10, 20]


def test_large_validation_images_are_cropped_to_their_centre(training: Run) -> None:
    _write_validation(training, [10], (0, 250), ["v"], side=400)
    (history,) = histories(training)
    assert (history.width, history.height) == (384, 384)
    assert _levels(history.frames) == [0, 10, 250]  # every crop is within its view
