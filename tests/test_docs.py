"""Generated tables, links and references to code in the documentation."""

import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common import read_rows
from deblurlab.config import CONF, compose, find_target, options

ROOT = CONF.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
MODELS = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "models.py")))
METHOD = (ROOT / "docs" / "method.md").read_text()


def test_the_table_of_models_matches_the_models() -> None:
    assert MODELS.outdated_rows() == []
    rows = (ROOT / "docs" / "models.md").read_text()
    assert [name for name in options("model") if f"\n| `{name}` |" not in rows] == []
    line = MODELS.row("unet", "")
    assert MODELS.without_seconds(line) != MODELS.without_seconds(line.replace("4,730,211", "4,730,212"))


def test_the_arguments_of_converted_weights_are_listed() -> None:
    text = (ROOT / "docs" / "models.md").read_text().partition("\n## Results of the original codes\n")[2]
    items = {
        re.match(r"- `(\w+)", item)[0][3:]: item for item in re.findall(r"^- `.*?(?=\n- |\n\n)", text, re.M | re.S)
    }  # type: ignore[index]
    classes = {name: find_target(compose(f"model={name}").model).original_arguments for name in options("model")}
    for name, arguments in classes.items():
        (item,) = [item for prefix, item in items.items() if arguments and name.startswith(prefix)] or [""]
        expected = {f"{key}={str(value).lower()}" for key, value in arguments.items()}
        assert set(re.findall(r"`(\w+=\w+)`", item.partition(".")[0])) == expected, name


def test_a_row_of_a_model_comes_from_its_class_and_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {"_target_": "plain_models.Strided", "width": 8}
    assert MODELS.provenance(plain).title == "Strided"  # a class that declares nothing
    assert MODELS.changed_arguments(plain) == ["`width=8`"]
    assert MODELS.changed_arguments({**plain, "width": 4, "multiple_of": 4}) == ["`multiple_of=4`"]
    nafnet = {"_target_": "deblurlab.models.NAFNet", "encoder": [1, 1, 1, 28]}
    assert MODELS.changed_arguments(nafnet) == []
    licences = {width: MODELS.provenance({**nafnet, "width": width}).licence for width in (16, 32, 64)}
    assert licences == {16: "", 32: "MIT", 64: "MIT"}
    monkeypatch.setattr("deblurlab.config.options", lambda group: ["unet_res_small", "unet"])
    before = "| model | s / megapixel |\n|---|---|\n| `unet` | 3.3 |\n\nA note.\n"
    page = MODELS.page({"unet_res_small": "0.5"}, before)
    assert [(row["model"], row["s / megapixel"]) for row in read_rows(page)] == [
        ("`unet_res_small`", "0.5"), ("`unet`", "3.3"),
    ]  # fmt: skip
    assert "\nA note.\n\nThe seconds of `unet_res_small` were measured on " in page
    with pytest.raises(KeyError, match="unet_res_small"):
        MODELS.page({}, before)


def test_the_tables_of_recipes_match_the_files() -> None:
    rows = read_rows((ROOT / "docs" / "recipes.md").read_text())
    found = {row["`experiment=`"].strip("`"): row for row in rows}
    assert found.keys() == set(options("experiment"))
    for name, row in found.items():
        text = _recipe(name)
        for group in ("model", "loss", "data"):
            chosen = re.findall(rf"override /{group}: (\S+)", text)[-1]
            assert row[group] == f"`{chosen}`", name
        trainer = compose(f"experiment={name}", "++data.root=x").trainer
        steps = trainer.max_steps > 0
        assert row["length"] == (f"{trainer.max_steps} steps" if steps else f"{trainer.max_epochs} epochs"), name


def _recipe(name: str) -> str:
    """Return the text of a recipe's file, after those of the recipes that it extends."""
    text = (CONF / "experiment" / f"{name}.yaml").read_text()
    return "".join(_recipe(parent) for parent in re.findall(r"^  - (?!_self_)(\w+)$", text, re.MULTILINE)) + text


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


def test_sizes_of_published_weights_are_those_of_the_whole_original_networks() -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    models, published = (read_rows(part) for part in text.split("\n## Published weights\n"))
    whole = {row["model"]: int(row["parameters"].replace(",", "")) for row in models}
    whole |= {"`fpn_inception`": 60_929_291, "`fpn_mobilenet`": 3_312_707}  # with the unused end of the backbone
    assert {row["size"] for row in published if row["size"] != f"{4 * whole[row['model']] / 1e6:.0f} MB"} == set()
    licences = {row["model"]: row["licence of the original weights"] for row in models}
    assert [row["file"] for row in published if f"[{row['licence']}](" not in licences[row["model"]]] == []
    scores = {row["model"]: row["GoPro, published"] for row in models}
    assert [row["file"] for row in published if row["published"][:5] not in scores[row["model"]]] == []
