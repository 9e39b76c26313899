"""Two processes give the same training as one."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.checkpoints.io import read_checkpoint
from support import SMALL

Train = Callable[..., Path]
COMMON = [
    "trainer.accelerator=cpu", "trainer.precision=64-true", "loader.batch_size=4", "data=pairs", "data.val_share=0.25",
    "trainer.limit_test_batches=3",
]  # fmt: skip
VGG = ["++loss.vgg.layers=[relu1_2]"]
CYCLE = [
    "loss=cycle+identity+adv_ls+l1", "module=cycle", "metric=psnr+ssim+kid", "metric.kid.patch=24",
    "callbacks.checkpoints.monitor=null",
]  # fmt: skip


@pytest.fixture
def pairs(write_pairs: Callable[..., tuple[Path, Path]]) -> list[str]:
    """Overrides that name nine training and three validation pairs, which two processes share unevenly."""
    blurred, sharp = write_pairs(12, size=(64, 64))
    return [*COMMON, f"data.blurred={blurred}", f"data.sharp={sharp}"]


def _run(launcher: list[str], *overrides: str) -> str:
    """Train in two processes; return the output."""
    small = ["+debug=smoke", *SMALL, "trainer=ddp_cpu"]
    command = [sys.executable, *launcher, "-m", "deblurlab", "train", *overrides, *small]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _assert_equal(one: Path, two: Path, *, kid: bool = False) -> None:
    """Assert that weights, metrics and lists of images of two runs are equal, and whether KID is a metric."""
    checkpoints = [read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (one, two)]
    weights = [checkpoint["state_dict"] for checkpoint in checkpoints]
    assert weights[0].keys() == weights[1].keys()
    assert [checkpoint["global_step"] for checkpoint in checkpoints] == [3, 3]
    for name, value in weights[0].items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-8, msg=name)
    sets = [json.loads((run / "results.json").read_text())["sets"] for run in (one, two)]
    assert sets[0].keys() == sets[1].keys()
    for name, scores in sets[0].items():
        assert ("kid" in scores) == kid
        assert sets[1][name] == pytest.approx(scores, abs=1e-6)
    images = [[line.split(",")[:2] for line in (run / "per_image.csv").read_text().splitlines()] for run in (one, two)]
    assert images[0] == images[1]


@pytest.mark.slow
def test_processes_that_torchrun_starts_train_what_one_does(train: Train, pairs: list[str]) -> None:
    """Both access the run folders at the same time, also when one is deleted."""
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2"]
    output = _run(torchrun, "-m", "loss=l1,l1+vgg+adv", *VGG, *pairs, "runs=two")
    assert output.count("training time") == 2
    two = {json.loads(file.read_text())["options"]["loss"]: file.parent for file in Path("two").glob("*/results.json")}
    for loss in ("l1", "l1+vgg+adv"):
        one = train(*pairs, f"loss={loss}", *VGG, f"name={loss}").with_name(loss)
        _assert_equal(one, two[loss])
    before = (two["l1"] / "results.json").stat().st_mtime_ns
    output = _run(torchrun, "loss=l1", *VGG, *pairs, "runs=two", f"name={two['l1'].name}", "fresh=true")
    assert output.count("training time") == 1
    assert (two["l1"] / "results.json").stat().st_mtime_ns > before
    _assert_equal(Path("runs/l1"), two["l1"])


@pytest.mark.slow
def test_processes_that_lightning_starts_train_what_one_does(train: Train, pairs: list[str]) -> None:
    _run([], *CYCLE, *pairs, "name=two")
    one = train(*CYCLE, *pairs, "name=one").with_name("one")
    _assert_equal(one, Path("runs/two"), kid=True)
