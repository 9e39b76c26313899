"""Differences and their confidence intervals."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from deblurlab.cli.report import report as report_command
from deblurlab.errors import UserError
from deblurlab.reporting.statistics import compare, paired_bootstrap
from deblurlab.runs.files import write_csv


def test_the_interval_covers_the_true_mean_at_its_nominal_rate() -> None:
    """In about 95 % of 200 experiments (the percentile interval of 20 groups is slightly too narrow)."""
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(200):
        groups = {str(g): (1 + rng.normal(0, 1) + rng.normal(0, 0.2, 3)).tolist() for g in range(20)}
        found = paired_bootstrap(groups, seed=i)
        covered += found.low <= 1 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_images_of_a_group_are_not_independent() -> None:
    """The same values give a wider interval if they come from two photographs than from forty."""
    values = np.random.default_rng(0).normal(0.2, 1, 40)
    forty_groups = paired_bootstrap({str(i): [v] for i, v in enumerate(values)})
    two_groups = paired_bootstrap({"a": sorted(values)[:20], "b": sorted(values)[20:]})
    assert forty_groups.mean == pytest.approx(two_groups.mean) == pytest.approx(values.mean())
    assert two_groups.high - two_groups.low > 1.5 * (forty_groups.high - forty_groups.low)
    assert forty_groups.standard_error == pytest.approx(values.std() / np.sqrt(40), rel=0.05)


def test_one_group_has_no_interval() -> None:
    found = paired_bootstrap({"only": [1.0, 2.0]})
    assert found.mean == 1.5
    assert not found.significant
    with pytest.raises(ValueError, match="no image"):
        paired_bootstrap({})


def _run(folder: Path, psnr: dict[str, float], protocol: str = "RGB, in dB") -> Path:
    folder.mkdir()
    scores = {
        "images": len(psnr),
        "psnr": float(np.mean(list(psnr.values()))),
        "psnr_blurred": 20.0,
        "failed": 0,
        "untouched": 0,
    }
    results = {
        "name": folder.name, "options": {"restorer": folder.name}, "settings": {"restorer": {}, "psf": {}},
        "protocol": {"range": "rounded", "psnr": protocol}, "unavailable": {}, "failed": {}, "sets": {"s": scores},
        "seconds_per_megapixel": 1.0, "peak_memory_mib": 10.0,
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results))
    write_csv(
        folder / "per_image.csv",
        [{"set": "s", "image": name, "psnr_blurred": 20.0, "psnr": value} for name, value in psnr.items()],
    )
    return folder


def test_two_runs_are_compared_on_their_common_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = _run(tmp_path / "first", {"a/0": 20.0, "a/1": 30.0, "b/0": 25.0, "only": 99.0})
    second = _run(tmp_path / "second", {"b/0": 26.0, "a/0": 21.0, "a/1": 31.0})
    found = compare(first, second)["s"]["psnr"]
    assert found.mean == found.low == found.high == 1.0
    assert (found.images, found.groups, found.significant) == (3, 2, True)
    report_command(["compare", str(first), str(second)])
    output = capsys.readouterr().out
    assert "fewer than 10 groups" in output
    assert "significant" not in output


def test_a_difference_of_ten_groups_is_significant_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = _run(tmp_path / "first", {f"{i}/0": 20.0 for i in range(10)})
    second = _run(tmp_path / "second", {f"{i}/0": 21.0 for i in range(10)})
    third = _run(tmp_path / "third", {f"{i}/0": 20.0 + (-1) ** i for i in range(10)})
    for other, conclusion in ((second, " significant"), (third, "not significant")):
        report_command(["compare", str(first), str(other)])
        assert conclusion in capsys.readouterr().out


def test_runs_that_are_not_comparable_are_errors(tmp_path: Path) -> None:
    first = _run(tmp_path / "first", {"a": 20.0})
    with pytest.raises(UserError, match="different protocols"):
        compare(first, _run(tmp_path / "second", {"a": 20.0}, protocol="Y"))
    second = tmp_path / "second"
    results = json.loads((second / "results.json").read_text())
    for change, message in (
        ({"border": 8, "psnr": "RGB, in dB"}, "different protocols"),
        ({"psnr": "RGB, in dB"}, None),
    ):
        protocol = {"range": "rounded", **change}
        (second / "results.json").write_text(json.dumps({**results, "protocol": protocol}))
        if message is None:
            assert compare(first, second)["s"]["psnr"].mean == 0
        else:
            with pytest.raises(UserError, match=message):
                compare(first, second)
    rows = (second / "per_image.csv").read_text().replace("20.0,20.0", "21.0,20.0")
    (second / "per_image.csv").write_text(rows)
    with pytest.raises(UserError, match="restored different images named a"):
        compare(first, second)
    with pytest.raises(UserError, match="no image in common"):
        compare(first, _run(tmp_path / "third", {"b": 20.0}))
    with pytest.raises(SystemExit, match="contains no finished"):
        report_command(["compare", str(first), str(tmp_path)])


@pytest.mark.parametrize(
    ("form", "expected"),
    [("markdown", "| 25.00 |"), ("latex", r"25.00 &"), ("csv", ",25.00,"), ("html", "<td>25.00</td>")],
)
def test_tables_in_every_format(form: str, expected: str, tmp_path: Path) -> None:
    runs = [str(_run(tmp_path / name, {"a": value})) for name, value in (("low_one", 20.0), ("high", 25.0))]
    report_command(["table", *runs, "--format", form, "-o", str(tmp_path / "table")])
    text = (tmp_path / "table").read_text()
    assert expected in text
    assert ("low\\_one" if form == "latex" else "low_one") in text
    assert "+5.00" in text
    assert "psnr: RGB, in dB" in text
    if form == "csv":
        assert [row["PSNR (dB)"] for row in csv.DictReader(text.splitlines())] == ["20.00", "25.00"]
