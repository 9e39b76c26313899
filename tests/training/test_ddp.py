"""Two processes give the same training as one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deblurlab.checkpoints.io import read_checkpoint
from support import SMALL


@pytest.mark.slow
def test_processes_that_torchrun_starts_train_what_one_does(tmp_path: Path, data_root: Path) -> None:
    """Both access the run folder at the same time, also when it is deleted."""
    words = [
        "train", "+debug=smoke", f"data.root={data_root}", *SMALL, "loss=l1", "trainer.accelerator=cpu",
        "trainer.precision=64-true", "loader.batch_size=4", "data.train=8",
    ]  # fmt: skip
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "deblurlab", *words]
    one = [sys.executable, "-m", "deblurlab", *words, "name=one"]
    two = [*torchrun, "trainer=ddp_cpu", "name=two"]
    expected: dict[str, torch.Tensor] = {}
    for command, run in ((one, "one"), (two, "two"), ([*two, "fresh=true"], "two")):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("training time") == 1
        state = read_checkpoint(tmp_path / "runs" / run / "checkpoints" / "last.ckpt")["state_dict"]
        expected = expected or state
        for name, value in expected.items():
            torch.testing.assert_close(state[name], value, rtol=0, atol=1e-8, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["l1", "l1+vgg+adv", "cycle+identity+adv_ls+l1"])
def test_two_processes_give_the_weights_of_one(tmp_path: Path, data_root: Path, loss: str) -> None:
    weights = {}
    for trainer in ("default", "ddp_cpu"):
        command = [
            sys.executable, "-m", "deblurlab", "train", "+debug=smoke", f"data.root={data_root}", *SMALL,
            f"loss={loss}", f"trainer={trainer}", "trainer.accelerator=cpu", "trainer.precision=64-true",
            "loader.batch_size=4", "data.train=8", "data.val=3", f"name={trainer}",
        ]  # fmt: skip
        if "cycle" in loss:
            command += [
                "module=cycle",
                "metric=psnr+ssim+kid",
                "metric.kid.patch=24",
                "callbacks.checkpoints.monitor=null",
            ]
        if "vgg" in loss:
            command += ["loss.vgg.weights=random", "loss.vgg.layers=[relu1_2]"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr
        weights[trainer] = read_checkpoint(tmp_path / "runs" / trainer / "checkpoints" / "last.ckpt")
    one, two = (weights[name]["state_dict"] for name in ("default", "ddp_cpu"))
    assert one.keys() == two.keys()
    assert weights["default"]["global_step"] == weights["ddp_cpu"]["global_step"] == 3
    for name, value in one.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(two[name], value, rtol=0, atol=1e-8, msg=name)
    sets = [json.loads((tmp_path / "runs" / name / "results.json").read_text())["sets"] for name in weights]
    assert sets[0].keys() == sets[1].keys()
    for name, scores in sets[0].items():
        assert ("kid" in scores) == ("cycle" in loss)
        assert sets[1][name] == pytest.approx(scores, abs=1e-6)
    per_image = [(tmp_path / "runs" / name / "per_image.csv").read_text() for name in weights]
    assert [line.split(",")[:2] for line in per_image[0].splitlines()] == [
        line.split(",")[:2] for line in per_image[1].splitlines()
    ]
