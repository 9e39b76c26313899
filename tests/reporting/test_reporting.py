"""Table of the results of a run."""

from typing import Any

import pytest

from deblurlab.reporting import print_results
from deblurlab.reporting.table import details, rows

RESULTS: dict[str, Any] = {
    "name": "mine", "options": {"model": "unet", "loss": "l1+vgg", "data": None}, "decided": {"vgg weights": "random"},
    "seed": 3, "steps": 20000, "seconds": 3725.0, "parameters": 1_234_567, "macs_256": 2.5e9,
    "protocol": {"colour": "RGB"}, "unavailable": {},
    "sets": {"photographs": {"images": 40, "psnr": 27.125, "psnr_blurred": 26.0, "ssim": 0.81, "ssim_blurred": 0.8},
             "same": {"images": 1, "psnr": None, "psnr_blurred": None, "ssim": 1.0, "ssim_blurred": 1.0}},
}  # fmt: skip


def test_rows_are_blurred_restored_and_gain_of_every_set() -> None:
    assert rows(RESULTS) == [
        ("photographs", "40", "blurred", "26.00", "0.8000"),
        ("", "", "restored", "27.12", "0.8100"),
        ("", "", "gain", "+1.12", "+0.0100"),
        ("same", "1", "blurred", "-", "1.0000"),  # infinite PSNR
        ("", "", "restored", "-", "1.0000"),
        ("", "", "gain", "-", "+0.0000"),
    ]


def test_random_features_are_named_below_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert details(RESULTS)["vgg weights"] == "random"
    assert details(RESULTS)["training time"] == "1 h 2 min"
    print_results(RESULTS)
    assert "vgg weights: random" in capsys.readouterr().out
