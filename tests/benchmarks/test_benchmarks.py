"""Every benchmark runs in a small setting and prints its tables. Of times only the sign is asserted."""

import importlib
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from common import read_rows
from deblurlab.config import CONF

BENCHMARKS = {file.stem for file in (CONF.parent / "benchmarks").glob("*.py")} - {
    "common",
    "results",
}  # results: tests/test_results.py
Rows = list[dict[str, str]]
Run = Callable[..., Rows]
pytestmark = pytest.mark.slow


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Function that runs a benchmark with arguments and returns the rows of its tables."""

    def run(name: str, *arguments: object) -> Rows:
        capsys.readouterr()
        importlib.import_module(name).main([str(argument) for argument in arguments])
        output = capsys.readouterr().out
        first, _, rest = output.partition("\n")
        assert re.fullmatch(r"Measured on \d{4}-\d\d-\d\d, revision \S{7}.*, \d+ threads?, torch [\d.]+\.", first)
        return read_rows(rest)

    return run


def column(rows: Rows, header: str) -> list[float]:
    """Return the numbers of a column; all are finite and positive."""
    values = [float(row[header]) for row in rows if header in row]
    assert values != []
    assert all(0 < value < math.inf for value in values), values
    return values


def labelled(rows: Rows, header: str, value: str = "measured") -> dict[str, float]:
    """Return the numbers of a column by the first cells of their rows."""
    return {row[header]: float(row[value]) for row in rows if header in row}


def test_each_benchmark_has_a_test() -> None:
    assert {f"test_{name}" for name in BENCHMARKS} <= globals().keys()


def test_rows_of_several_tables() -> None:
    text = "x\n\n| a | b |\n|---|---|\n| 1 | `c` |\n| 2 | - |\n\n| d |\n|---|\n| 3 |\n"
    assert read_rows(text) == [{"a": "1", "b": "`c`"}, {"a": "2", "b": "-"}, {"d": "3"}]


def test_training_step(run: Run) -> None:
    rows = run("training_step", "--pairs", 1, "--loss", "l1", "--loss", "l1+vgg+adv")
    assert [(row["loss"], row["batch"]) for row in rows] == [("l1", "4 pairs of 96"), ("l1+vgg+adv", "4 pairs of 96")]
    column(rows, "framework / bare loop")
    assert all(float(row["weights differ (%)"]) < 0.1 for row in rows)


def test_cycle_step(run: Run) -> None:
    rows = run("cycle_step", "--pairs", 1, "--loss", "cycle+identity+adv_ls")
    assert [row["loss"] for row in rows] == ["cycle+identity+adv_ls"]
    column(rows, "framework / bare loop")
    assert float(rows[0]["weights differ (%)"]) < 0.1


def test_imports(run: Run) -> None:
    rows = run("imports", "--runs", 1, "--only", "report compare a")
    assert [row["case"] for row in rows] == ["`import torch`", "`deblurlab report compare a b`"]
    assert [row["large packages"] for row in rows] == ["torch", ""]
    seconds, ratios = column(rows, "CPU seconds"), column(rows, "/ `import torch`")
    assert ratios == [1, pytest.approx(seconds[1] / seconds[0], abs=0.02)]
    column(rows, "modules")


def test_gan_step(run: Run) -> None:
    small = "model.width=8", "model.blocks=1", "discriminator.width=8", "augment.size=64", "loss.vgg.layers=[relu1_2]"
    rows = run("gan_step", "--pairs", 1, *small)
    assert [(row["batch"], row["precision"]) for row in rows] == [
        ("1 pairs of 64", "32-true"), ("1 pairs of 64", "bf16-mixed"),
    ]  # fmt: skip
    column(rows, "framework / bare loop")
    differences = [float(row["weights differ (%)"]) for row in rows]
    assert differences[0] < 0.1
    assert differences[1] < 30  # Adam's first steps divide gradients by their size, and so enlarge bf16's rounding


def test_data_loading(run: Run) -> None:
    small = "--runs", 1, "--samples", 16, "--steps", 1, "--pairs", 2, "--size", 256, 320
    rows = run("data_loading", *small)
    assert [row["256x256 crops"] for row in rows[:2]] == ["augment=none", "augment=flip_rot"]
    column(rows, "files / frame store")
    assert column(rows, "samples of one worker") == [16]
    column(rows, "private (MiB)")
    measured = labelled(rows, "measurement")
    assert all(value >= 0 for value in measured.values())
    assert len(measured) == 5


def test_data_statistics(run: Run, data_root: Path) -> None:
    synthetic = f"data=synthetic_small data.root={data_root}/statistics data.height=128 data.width=128 data.train=1"
    (row,) = run("data_statistics", "--images", 1, "--side", 128, synthetic)
    assert row["squares"] == "1"
    numbers = {name: [float(n) for n in re.findall(r"[-\d.]+", cell)] for name, cell in list(row.items())[2:]}
    assert all(low == median == high for median, low, high in numbers.values())  # quartiles of one square
    assert numbers["slope"][0] < 0
    assert 0 < numbers["energy left"][0] < 1  # blur removes detail


def test_gradient_shares(run: Run, data_root: Path) -> None:
    small = "+debug=smoke", "model=unet_res_small", "model.width=4", "loss=l1+0.5*mse+0*tv", f"data.root={data_root}"
    rows = run("gradient_shares", *small)
    assert [(row["step"], row["term"]) for row in rows] == [("1", "l1"), ("1", "mse")]  # tv has no weight
    assert sum(column(rows, "share (%)")) == pytest.approx(100, abs=0.1)


def test_inference(run: Run) -> None:
    tiny = "--tiled", 256, 256, "--tile", 128, "--size", 64, 96, "--runs", 1
    rows = run("inference", "--only", "tiles", "engines", "--models", "fidelity", *tiny)
    tiles = [row for row in rows if "tiles" in row]
    assert tiles[0]["tiles"] == "256x256 in tiles of 128, overlap 32"
    assert float(tiles[0]["computed pixels / pixels"]) == pytest.approx((2 * (128 + 32)) ** 2 / 256**2, abs=1e-3)
    column(rows, "tiled / whole")
    assert len(column(rows, "s / megapixel")) == 4
    assert [row["target"] for row in rows if "ratio" in row] == ["at least 1", "-", "at most 0.5"]
    column(rows, "measured")
    (files,) = run("inference", "--only", "files", "--files", 1, "--size", 1000, 1010, "--runs", 1)
    assert files["files"] == "1 JPEGs of 1010x1000"
    assert 0 < float(files["busy time of the network (%)"]) <= 100
    column([files], "`restore_files` / sequential")


def test_memory(run: Run) -> None:
    (row,) = run("memory", "--large", 96, 128, "--small", 48, 64, "png")
    assert row["type"] == "PNG"
    assert float(row["128x96 (MiB)"]) > 100  # PyTorch alone
    (ratio,) = column([row], "peak of the large / small image")
    assert ratio == pytest.approx(float(row["128x96 (MiB)"]) / float(row["64x48 (MiB)"]), rel=0.01)


def test_metrics(run: Run) -> None:
    rows = run("metrics", "--images", 1, "--size", 128, 192, "model=unet_res_small", "model.width=4")
    measured = labelled(rows, "SSIM of 192x128 RGB, one core")
    assert measured["scikit-image / ours, time"] > 0
    assert measured["difference to scikit-image, float64"] <= 1e-9
    assert measured["difference to scikit-image, float32"] <= 1e-6
    assert 0 < column(rows, "restoring (s)")[0] <= column(rows, "total (s)")[0]


def test_models(run: Run) -> None:
    (row,) = run("models", "unet_res_small")
    assert row["model"] == "`unet_res_small`"
    assert row["parameters"] == "1,183,923"
    column([row], "s / megapixel")


def test_scaling(run: Run, tmp_path: Path) -> None:
    step, loading = tmp_path / "step.txt", tmp_path / "loading.txt"
    step.write_text("| loss | batch | framework (ms) |\n|---|---|---|\n| l1 | 16 pairs of 256 | 100.0 |\n")
    header = "| 256x256 crops | frame store (ms) | files (ms) |\n|---|---|---|\n"
    loading.write_text(f"{header}| augment=flip_rot | 1.0 | 20.0 |\n")
    rows = run("scaling", step, loading, "--loss", "l1", "--model", "unet_res_small", "--gpus", 1, 8)
    computed = labelled(rows, "one device, 16 pairs of 256 in 100.0 ms", "computed")
    assert computed["pairs per second"] == 160
    assert computed["crops (MB/s)"] == 62.9  # 160 pairs of 2 x 3 x 256 x 256 bytes
    assert computed["busy workers, image files"] == 3.2
    assert labelled(rows, "network", "gradients (MB)")["unet_res_small"] == 5  # 4 bytes for each of 1,183,923
    one, eight = (row for row in rows if "GPUs" in row)
    assert float(one["of ideal (%)"]) == pytest.approx(100, abs=1)
    assert 80 < float(eight["of ideal (%)"]) < 100
    assert (eight["wait for data (%)"], eight["for gradients (%)"]) == ("0.0", "0.0")


def test_blind_psf(run: Run) -> None:
    rows = run("blind_psf", "--shakes", 1, "--photographs", "chelsea")
    assert [(row["photograph"], row["psf"]) for row in rows] == [
        (photograph, psf) for photograph in ("chelsea", "all") for psf in ("`estimate`", "`estimate_straight`")
    ]
    for row in rows:
        shares = [float(row[share].rstrip("%")) for share in ("right", "wrong", "not found")]
        assert sorted(shares) == [0, 0, 100]
    column(rows, "CPU s/MP")


def test_deep_prior(run: Run) -> None:
    photographs = ["--photographs", "chelsea", "--size", 64]
    rows = run("deep_prior", *photographs, "--iterations", 4, "--every", 2, "--widths", 8, "--psf", "oracle")
    assert [(row["width"], row["psf"], row["photograph"]) for row in rows] == [
        ("8", "oracle", "chelsea"),
        ("8", "oracle", "mean"),
    ]
    assert rows[0]["best"].startswith(max(rows[0]["2"], rows[0]["4"], key=float)) or "at 1" in rows[0]["best"]
    assert [row["blurred (dB)"] for row in rows] == [rows[0]["blurred (dB)"]] * 2
    column(rows[:1], "s/iteration")


def test_sweeps(run: Run) -> None:
    rows = run("sweeps", "--runs", 5, "--logged", 10, "--seeds", 1, "--steps", 1, "--launchers", "basic")
    assert [row["target"] for row in rows] == ["at most 20", "at most 2000", "-", "at most 1.05"]
    column(rows, "measured")


def test_tiling(run: Run) -> None:
    (row,) = run("tiling", "unet_res_small")
    assert (row["model"], row["receptive radius (up to 384)"]) == ("`unet_res_small`", "128")
    change = float(row["mean change of the image"])
    assert 0 <= float(row["mean difference"]) < float(row["maximum difference"]) < change
