"""examples/quickstart.ipynb: it runs, and its stored outputs are those of the current code."""

import contextlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.metrics

from deblurlab.config import CONF

CELLS = [
    cell
    for cell in json.loads((CONF.parent / "examples" / "quickstart.ipynb").read_text())["cells"]
    if cell["cell_type"] == "code"
]
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def _stored(cell: dict[str, Any]) -> list[str]:
    """Return the lines that a cell printed when it was executed."""
    text = "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
    return [line for line in text.splitlines() if line.strip()]


def _numbers(line: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(line)]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[str]]:
    """Return the variables after all cells, and what each cell printed."""
    variables: dict[str, Any] = {"__name__": "quickstart"}
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("quickstart"))
        for cell in CELLS:
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile("".join(cell["source"]), "quickstart.ipynb", "exec"), variables)
            printed.append(output.getvalue())
        variables["folder"] = Path.cwd()
    return variables, printed


def test_outputs_are_stored_and_small() -> None:
    outputs = [output for cell in CELLS for output in cell["outputs"]]
    images = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(images) == 1
    assert sum(len(image) for image in images) < 200_000
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}  # no warnings, no paths of a machine
    assert len([cell for cell in CELLS if _stored(cell)]) == 5


@pytest.mark.slow
def test_stored_outputs_are_those_of_the_code(executed: tuple[dict[str, Any], list[str]]) -> None:
    """Texts are equal; numbers differ between processors, decibels by less than 0.1."""
    for cell, printed in zip(CELLS, executed[1], strict=True):
        found = {_NUMBER.sub("#", line.rstrip()): _numbers(line) for line in printed.splitlines()}
        for line in _stored(cell):
            template = re.sub(r"[-+](?=#)", "±", _NUMBER.sub("#", line.rstrip()))
            match = {re.sub(r"[-+](?=#)", "±", key): numbers for key, numbers in found.items()}
            assert template in match
            assert match[template] == pytest.approx(_numbers(line), abs=0.1), line


@pytest.mark.slow
def test_the_notebook_trains_restores_and_measures(executed: tuple[dict[str, Any], list[str]]) -> None:
    variables = executed[0]
    assert variables["results"]["steps"] == 100
    scores = variables["results"]["sets"]["photographs"]
    assert scores["psnr"] > scores["psnr_blurred"]
    blurred, sharp, (own, bundled) = (variables[name] for name in ("blurred", "sharp", "restored"))
    assert own.shape == bundled.shape == blurred.shape == (128, 128, 3)
    assert np.array_equal(variables["batch"]["sharp"][0].permute(1, 2, 0), sharp)
    for image in (blurred, own, bundled):
        value = variables["psnr"](variables["as_tensor"](image), variables["as_tensor"](sharp)).item()
        assert value == pytest.approx(skimage.metrics.peak_signal_noise_ratio(sharp, image), abs=1e-3)
    runs = variables["folder"] / "runs" / "quickstart" / "losses"
    assert len(list(runs.glob("*/results.json"))) == 2
