"""Model card of a release, with scores computed by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from deblurlab.cli.export import export
from deblurlab.reporting.card import model_card
from deblurlab.runs.folder import Run

PSNR = {"a/0": (20.0, 21.0), "a/1": (22.0, 25.0), "b/0": (30.0, 30.5), "c": (24.0, 23.0)}
"""PSNR of the blurred and the restored image by image; `a` has two images, so there are three groups."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with results of its own making."""
    results = {
        "name": "mine",
        "options": {"model": "unet_res", "data": "gopro+reds", "loss": "l1"},
        "version": "9.9",
        "commit": None,
        "modified": None,
        "seed": 3,
        "steps": 1200,
        "parameters": 1_500_000,
        "macs_256": 2_000_000_000,
        "protocol": {"range": "8 bits", "psnr": "RGB"},
        "unavailable": {},
        "metrics": {
            "psnr": {"title": "PSNR", "unit": "dB", "digits": 2, "higher_is_better": True},
            "kid": {"title": "KID", "digits": 3, "higher_is_better": False},
        },
        "sets": {"test|1": {"images": 4, "psnr": 24.875, "psnr_blurred": 24.0, "kid": 0.25}},
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    config = {"model": {"_target_": "deblurlab.models.UNetRes", "width": 4}, "data": {"_target_": "x.Mixed"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "overrides.yaml").write_text("- model.width=4\n- data=[a b]\n")
    rows = [f"test|1,{image},{restored},{blurred}" for image, (blurred, restored) in PSNR.items()]
    (tmp_path / "per_image.csv").write_text("\n".join(["set,image,psnr,psnr_blurred", *rows]) + "\n")
    return Run(tmp_path)


def _cells(card: str, metric: str) -> list[str]:
    line = next(line for line in card.splitlines() if line.startswith("|") and metric in line)
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _interval(cell: str) -> list[float]:
    return [float(end) for end in cell.split(" .. ")]


def test_scores_have_intervals_over_groups(run: Run) -> None:
    name, images, groups, metric, blurred, restored, interval, gain, of_gain = _cells(
        model_card(run, weights="out", licence=None), "PSNR"
    )
    assert (name, images, groups, metric) == (r"test\|1", "4", "3", "PSNR (dB)")
    assert (float(blurred), float(restored), float(gain)) == (
        24.0,
        pytest.approx(24.875, abs=0.01),
        pytest.approx(0.875, abs=0.01),
    )
    # All 27 equally likely choices of three groups, their means, and the quantiles of these.
    expected = {False: [], True: []}
    by_group = [[PSNR["a/0"], PSNR["a/1"]], [PSNR["b/0"]], [PSNR["c"]]]
    for choice in np.ndindex(3, 3, 3):
        pairs = [pair for group in choice for pair in by_group[group]]
        expected[False].append(np.mean([after for _, after in pairs]))
        expected[True].append(np.mean([after - before for before, after in pairs]))
    for is_gain, cell in ((False, interval), (True, of_gain)):
        assert _interval(cell) == pytest.approx(
            np.quantile(expected[is_gain], [0.025, 0.975], method="inverted_cdf"), abs=0.01
        )


def test_a_metric_of_the_whole_set_has_no_interval(run: Run) -> None:
    cells = _cells(model_card(run, weights="out", licence=None), "KID")
    assert cells[2:] == ["-", "KID", "-", "0.250", "-", "-", "-"]


def test_the_card_has_metadata_and_commands(run: Run) -> None:
    card = model_card(run, weights="hf://me/net", licence="mit")
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "mit",
        "library_name": "deblurlab",
        "pipeline_tag": "image-to-image",
        "tags": ["deblurring", "image-restoration", "unet_res"],
        "datasets": ["gopro", "reds"],
        "metrics": ["psnr", "kid"],
    }
    for line in (
        "# mine",
        "deblurlab restore photos -o restored --weights hf://me/net",
        'restored = Restorer.load("hf://me/net").restore("photo.jpg")',
        "1.50 M parameters, 2.00 G multiply-accumulate operations for 256x256 pixels.",
        "_target_: deblurlab.models.UNetRes",
        "Protocol: range: 8 bits; psnr: RGB.",
        "Data: `gopro+reds` (`x.Mixed`). 1,200 steps, seed 3,",
        "deblurlab train model.width=4 'data=[a b]'",
        "The licence of the weights is `mit`.",
    ):
        assert line in text.splitlines()


def test_without_a_licence_the_card_says_so(trained: Path) -> None:
    export([str(trained), "-o", "released"])
    card = Path("released/README.md").read_text()
    assert "license" not in yaml.safe_load(card.split("---\n")[1])
    assert "No licence is given." in card.splitlines()
    assert "deblurlab restore photos -o restored --weights released" in card.splitlines()
