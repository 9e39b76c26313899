"""Report pages in a real browser."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from deblurlab.cli import main


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
    box = slider.bounding_box()
    assert box is not None
    slider.click(position={"x": 0.9 * box["width"], "y": box["height"] / 2})
    assert float(slider.input_value()) > 80
    after = page.evaluate("getComputedStyle(document.querySelector('.compare .over')).clipPath")
    assert before != after
    assert messages == []
