"""Report pages in a real browser."""

import csv
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page

from deblurlab.cli import main
from deblurlab.media.images import write_png
from deblurlab.reporting import write_report
from deblurlab.reporting.ablation import read_ablation
from deblurlab.reporting.index import write_index
from deblurlab.reporting.sweep_page import write_sweep
from deblurlab.runs.folder import Run
from reporting.run_folders import write_training


def test_the_page_of_a_sweep_has_plots_sliders_and_no_browser_errors(
    train: Callable[..., Path], page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    train("-m", "+sweep=losses", "loss=l1,l1+0.01*adv", "seed=1,2", "name=null", "trainer.limit_test_batches=2")
    monkeypatch.setattr(sys, "argv", ["deblurlab", "report", "sweep", "runs/losses", "--format", "csv", "-o", "t.csv"])
    main()
    with Path("t.csv").open() as file:
        assert [row["loss"] for row in csv.DictReader(file)] == ["l1", "l1+0.01*adv"]
    monkeypatch.setattr(sys, "argv", ["deblurlab", "report", "sweep", "runs/losses"])
    main()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("requestfailed", lambda request: messages.append(request.url))
    page.goto(Path("runs/losses/report.html").resolve().as_uri())
    assert page.locator("table tr").count() == 3
    plots = page.locator("svg")
    assert plots.count() >= 3  # differences of PSNR and SSIM, curves
    for i in range(plots.count()):
        box = plots.nth(i).bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 100
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    compare = page.locator(".compare").first
    before = page.evaluate("getComputedStyle(document.querySelector('.compare .over')).clipPath")
    slider = compare.locator("input[type=range]")
    box, picture = slider.bounding_box(), compare.locator(".view").first.bounding_box()
    assert box is not None
    assert picture is not None
    assert box["y"] >= picture["y"] + picture["height"]
    slider.click(position={"x": 0.9 * box["width"], "y": box["height"] / 2})
    assert float(slider.input_value()) > 80
    after = page.evaluate("getComputedStyle(document.querySelector('.compare .over')).clipPath")
    assert before != after
    assert messages == []


SHOWN = """[...document.querySelectorAll(".zoom")].map(element => {
  const part = element.getBoundingClientRect(), view = element.parentNode.getBoundingClientRect();
  const at = (view.x + view.width / 2 - part.x) / part.width, below = (view.y + view.height / 2 - part.y) / part.height;
  const rendering = getComputedStyle(element.firstElementChild).imageRendering;
  return {scale: part.width / view.width, x: at, y: below, width: part.width, rendering};
})"""
"""For each picture: scale relative to the fitted one, the point of the picture at the centre of its view, as fractions,
displayed width and rendering."""


@pytest.fixture
def training_page(page: Page, tmp_path: Path) -> Page:
    """Page of a training with two test images of 600 x 400."""
    run = Run(tmp_path / "mine")
    write_training(run, size=(400, 600))
    write_report(run)
    page.set_viewport_size({"width": 1200, "height": 900})
    page.goto(run.report_file.as_uri())
    page.evaluate("document.querySelectorAll('.compare details').forEach(details => details.open = true)")
    page.locator(".view").first.hover()
    return page


def _shown(page: Page) -> list[dict[str, Any]]:
    page.wait_for_timeout(200)  # some frames
    shown = page.evaluate(SHOWN)
    assert len(shown) == 4  # two comparisons, two sharp images
    for key in ("scale", "x", "y"):
        assert [panel[key] for panel in shown] == pytest.approx([shown[0][key]] * 4, abs=2e-3)
    return shown


def test_the_wheel_zooms_all_pictures_at_the_pointer(training_page: Page) -> None:
    page = training_page
    box = page.locator(".view").first.bounding_box()
    assert box is not None
    fitted = _shown(page)[0]
    assert (fitted["scale"], fitted["x"], fitted["y"]) == pytest.approx((1, 0.5, 0.5))
    assert fitted["rendering"] == "auto"  # 600 pixels on fewer
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"])
    for _ in range(8):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(50)
    zoomed = _shown(page)[0]
    assert zoomed["scale"] > 2
    # The point at three quarters of the width stays below the pointer: it is a quarter of the view from the centre.
    assert zoomed["x"] + 0.25 / zoomed["scale"] == pytest.approx(0.75, abs=0.01)
    assert zoomed["y"] == pytest.approx(0.5, abs=0.01)
    assert zoomed["rendering"] == "pixelated"
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    for _ in range(20):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(50)
    assert _shown(page)[0] == pytest.approx({**fitted, "rendering": "auto"}, abs=2e-3)


def test_dragging_pans_all_pictures_but_not_beyond_their_border(training_page: Page) -> None:
    page = training_page
    page.get_by_role("button", name="1:1 pixels").click()
    before = _shown(page)[0]
    assert before["width"] == pytest.approx(600, abs=0.1)
    assert before["rendering"] == "pixelated"
    page.locator(".view").first.hover()
    box = page.locator(".view").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 12, y + 6, steps=3)
    page.mouse.up()
    after = _shown(page)[0]
    assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((12 / 600, -6 / 400), abs=1e-3)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 400, y, steps=3)
    page.mouse.up()
    assert _shown(page)[0]["x"] == pytest.approx(0.5 * box["width"] / 600, abs=1e-3)  # the left border
    page.get_by_role("button", name="reset").click()
    fitted = _shown(page)[0]
    assert (fitted["scale"], fitted["x"], fitted["y"]) == pytest.approx((1, 0.5, 0.5))


def test_the_line_between_the_pictures_stays_at_its_place_when_they_are_zoomed(training_page: Page) -> None:
    """The blurred image is black, the restored one is white."""
    page = training_page
    slider = page.locator("input.cut").first
    slider.focus()
    slider.press("Home")
    for _ in range(3):
        slider.press("PageUp")  # a tenth of the range
    assert float(slider.input_value()) == pytest.approx(30, abs=0.1)
    view = page.locator(".view").first
    assert _edge(view) == pytest.approx(0.3, abs=0.01)
    view.hover(position={"x": 100, "y": 100})
    for _ in range(6):
        page.mouse.wheel(0, -100)
        page.wait_for_timeout(50)
    assert _shown(page)[0]["scale"] > 1.5
    assert _edge(view) == pytest.approx(0.3, abs=0.01)


def _edge(view: Locator) -> float:
    """Return the share of a view that is black, from the left."""
    with Image.open(io.BytesIO(view.screenshot())) as image:
        row = np.asarray(image.convert("L"))[image.height // 2]
    return float(np.argmax(row > 128)) / len(row)


def test_the_slider_of_a_validation_image_selects_the_step(page: Page, tmp_path: Path) -> None:
    run = Run(tmp_path / "mine")
    write_training(run, names=())
    run.metrics_file.write_text("step,epoch,val/loss/l1\n")
    for step in (100, 200):
        parts = [np.full((40, 60, 3), level, np.uint8) for level in (0, step, 250)]
        write_png(run.samples / f"val_cat_{step:07d}.png", np.concatenate(parts, axis=1))
    write_report(run)
    page.goto(run.report_file.as_uri())
    slider, view = page.locator(".history input"), page.locator(".history .view")
    slider.press("Home")
    shown = []
    for _ in range(4):
        with Image.open(io.BytesIO(view.screenshot())) as image:
            shown.append((page.locator(".history output").inner_text(), np.asarray(image.convert("L")).mean()))
        slider.press("ArrowRight")
    assert [label for label, _ in shown] == ["blurred", "step 100", "step 200", "sharp"]
    assert [level for _, level in shown] == pytest.approx([0, 100, 200, 250], abs=2)


def test_the_table_of_all_runs_is_sorted_by_a_clicked_heading(page: Page, tmp_path: Path) -> None:
    """By number, not by text, and without a value last in both orders."""
    for name, parameters in (("a", 9_000), ("b", None), ("c", 1_000_000), ("d", 950)):
        run = Run(tmp_path / name)
        write_training(run, names=())
        results = json.loads(run.results_file.read_text())
        run.results_file.write_text(json.dumps({**results, "parameters": parameters}))
    page.goto(write_index(tmp_path).as_uri())
    heading = page.get_by_role("button", name="parameters")
    names = page.locator("table tr td:first-child")
    assert names.all_inner_texts() == ["a", "b", "c", "d"]
    heading.click()
    assert names.all_inner_texts() == ["d", "a", "c", "b"]
    heading.press("Enter")
    assert names.all_inner_texts() == ["c", "a", "d", "b"]
    page.get_by_role("button", name="run").click()
    assert names.all_inner_texts() == ["a", "b", "c", "d"]


def test_any_two_configurations_of_a_sweep_are_compared(page: Page, tmp_path: Path) -> None:
    """Each configuration's restored image is of its own grey level."""
    levels = {"l1": 50, "mse": 100, "vgg": 200}
    for loss, level in levels.items():
        run = Run(tmp_path / loss)
        write_training(run, names=())
        run.overrides_file.write_text(f"[loss={loss}]")
        parts = [np.full((40, 60, 3), grey, np.uint8) for grey in (0, level, 250)]
        write_png(run.samples / "test_dog.png", np.concatenate(parts, axis=1))
    page.goto(write_sweep(read_ablation(tmp_path, {"loss": "l1"})).as_uri())
    figure = page.locator(".choice")
    options = figure.locator("select").first.locator("option").all_inner_texts()
    assert sorted(options) == [f"loss={loss}: PSNR 31.00 → 30.00 dB (-1.00)" for loss in levels]
    for left, right in ((0, 1), (2, 1), (2, 0)):
        if (left, right) != (0, 1):  # the choice when the page opens
            figure.locator("select").nth(0).select_option(index=left)
            figure.locator("select").nth(1).select_option(index=right)
        with Image.open(io.BytesIO(figure.locator(".view").screenshot())) as image:
            row = np.asarray(image.convert("L"))[image.height // 2]
        expected = [levels[options[i].removeprefix("loss=").partition(":")[0]] for i in (left, right)]
        assert [row[len(row) // 4], row[3 * len(row) // 4]] == pytest.approx(expected, abs=2)
