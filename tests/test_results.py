"""docs/results.md and README's table are what the files in docs/results say."""

import csv
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from deblurlab.config import CONF

ROOT = CONF.parent
FILES = ROOT / "docs" / "results"
RESULTS = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "results.py")))


def test_the_page_is_up_to_date() -> None:
    """`python benchmarks/results.py write` changes nothing."""
    assert RESULTS.page(FILES) == (ROOT / "docs" / "results.md").read_text()
    readme = (ROOT / "README.md").read_text()
    assert RESULTS.with_table(readme, RESULTS.small_table(FILES)) == readme


def _psnr(folder: Path) -> dict[str, float]:
    with (folder / "per_image.csv").open(newline="") as file:
        return {row["image"]: float(row["psnr"]) for row in csv.DictReader(file)}


def test_the_comparison_by_hand() -> None:
    """PSNR and gain of each method are means over the images of per_image.csv."""
    rows = {row["method"]: row for row in RESULTS.table(FILES)}
    assert list(rows) == [method.title for method in RESULTS.METHODS.values()]
    folders = {method.title: folder for method, folder, _ in RESULTS.evaluations(FILES)}
    blurred = _psnr(folders["blurred"])
    for title, row in rows.items():
        values = _psnr(folders[title])
        assert values.keys() == blurred.keys()
        assert float(row["PSNR (dB)"]) == pytest.approx(np.mean(list(values.values())), abs=0.0051)
        if title != "blurred":
            gain = float(row["gain (dB), 95 % interval"].split()[0])
            assert gain == pytest.approx(np.mean([values[image] - blurred[image] for image in blurred]), abs=0.0051)


def test_the_picture_shows_every_method_at_1_to_1() -> None:
    with Image.open(ROOT / "docs" / "results.png") as picture:
        rows = -(-(len(RESULTS.METHODS) + 1) // RESULTS.COLUMNS) * len(RESULTS.CROPS)
        assert picture.size == (RESULTS.COLUMNS * (RESULTS.TILE + 4), rows * (RESULTS.TILE + 18))
