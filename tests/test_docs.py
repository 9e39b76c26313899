"""Generated tables, links and references to code in the documentation."""

import math
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from deblurlab.config import CONF, compose

ROOT = CONF.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
METHOD = (ROOT / "docs" / "method.md").read_text()


def test_the_table_of_models_matches_the_models() -> None:
    script = runpy.run_path(str(ROOT / "benchmarks" / "models.py"))
    assert script["outdated_rows"]() == []
    assert list(script["PUBLISHED"]) != []
    line = script["row"]("unet", seconds=None)
    assert script["without_seconds"](line) != script["without_seconds"](line.replace("4,730,211", "4,730,212"))


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_and_headings_exist(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            assert anchor in _anchors(linked), f"{target}#{anchor}"


def test_the_method_names_existing_tests_and_files() -> None:
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", METHOD)
    assert len(tests) > 5
    for file, name in tests:
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"
    for file, name in re.findall(r"`(src/[\w/]+\.py)`, `(\w+)`", METHOD):
        assert re.search(rf"^(class|def) {name}\b", (ROOT / file).read_text(), re.MULTILINE), f"{file}, {name}"


def test_the_method_has_the_weights_of_its_recipe() -> None:
    loss = compose("experiment=paper", "data.root=gopro").loss
    for name, symbol in (("l1", "1"), ("vgg", "{\\mathrm{VGG}}"), ("adv", "{\\mathrm{adv}}")):
        assert f"{loss[name].weight} \\, \\mathcal L_{symbol}" in METHOD


def test_the_examples_of_contributing_run_and_pass_their_tests() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    namespace: dict[str, Any] = {"torch": torch, "pytest": pytest, "math": math}
    for block in blocks:
        exec(block, namespace)
    namespace["test_log_cosh_by_hand"]()
    namespace["test_mae_by_hand"]()
    image = torch.rand(1, 3, 5, 7)
    assert namespace["LogCosh"]()(image, image).item() == 0
    assert namespace["Plain"]()(image).shape == image.shape
