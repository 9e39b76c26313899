"""`restorer.precision`: fp32 by default, bf16 on request; data sets have images of 8 bits."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.datasets.listing import Pair
from deblurlab.inference import precision
from deblurlab.restorers import Checkpoint
from deblurlab.restorers.psf import NoPsf
from support import small_release

Evaluate = Callable[..., Path]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("release") / "small")


@pytest.fixture(autouse=True)
def _bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)


def test_the_psnr_of_bf16_is_close_to_that_of_fp32(
    evaluate: Evaluate, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    psnr = {}
    for name in ("", "fp32", "bf16", "auto"):
        overrides = [f"restorer.precision={name}"] if name else []
        options = f"restorer.path={weights}", "metric=psnr", "limit=2", "fresh=true"
        run = evaluate("restorer=checkpoint", *options, *overrides)
        lines = [line for line in capsys.readouterr().err.splitlines() if "restorer.precision" in line]
        assert [line.partition(" (")[0] for line in lines] == {
            "bf16": ["INFO: restorer.precision=bf16: bf16"],
            "auto": ["INFO: restorer.precision=auto: bf16 for images of 8 bits"],
        }.get(name, [])
        with (run / "per_image.csv").open() as file:
            psnr[name] = [float(row["psnr"]) for row in csv.DictReader(file)]
    assert psnr[""] == psnr["fp32"] != psnr["bf16"] == psnr["auto"]
    assert psnr["bf16"] == pytest.approx(psnr["fp32"], abs=0.02)


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_precision_applies_to_the_device_of_prepare(weights: Path, ensemble: bool) -> None:
    image = torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0))
    pair = Pair("x", "x.png", "x.png")
    restored = {}
    for name in ("fp32", "bf16"):
        restorer = Checkpoint(path=str(weights), precision=name, ensemble=ensemble)
        restorer.prepare(torch.device("cpu"), NoPsf())
        restored[name] = restorer(image, pair).image
    difference = 255 * (restored["fp32"] - restored["bf16"]).abs()
    assert 0 < difference.mean() < 0.5


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["restorer=bundled_fidelity", "restorer.precision=half"], "precision=half is unknown: choose auto"),
        (["restorer=wiener", "+restorer.precision=bf16"], "unexpected keyword argument 'precision'"),
        (["restorer=onnx", "restorer.path=x", "+restorer.precision=bf16"], "unexpected keyword argument 'precision'"),
    ],
)
def test_invalid_precisions_are_reported(evaluate: Evaluate, overrides: list[str], message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        evaluate(*overrides)
