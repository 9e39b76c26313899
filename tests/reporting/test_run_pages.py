"""Pages of trainings and evaluations: captions, origin of the results, sample images."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from deblurlab.errors import UserError
from deblurlab.reporting import write_evaluation, write_report
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
