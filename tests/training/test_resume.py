"""Resumed and rejected runs: no checkpoint is lost, no wrong result is kept."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.load import load_model
from deblurlab.config import instantiate
from deblurlab.training import PairedRestoration
from support import SMALL, config

Train = Callable[..., Path]


def _column(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open() as lines:
        return [float(row[name]) for row in csv.DictReader(lines) if row[name]]


def _stop_at(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Make the process exit at the start of the step after `at`."""
    step = PairedRestoration.training_step

    def killed(self: PairedRestoration, batch: object, batch_idx: int) -> object:
        if self.global_step == at:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(PairedRestoration, "training_step", killed)


def _score(run: Path) -> float:
    return read_checkpoint(run / "checkpoints" / "best.ckpt")["callbacks"]["Checkpoints"]["best"]


def test_more_steps_extend_the_schedule(train: Train, trained: Path) -> None:
    """At step n of the longer training the rate is that of the longer cosine."""
    longer = ["trainer.max_steps=8", "trainer.val_check_interval=8"]
    resumed = train("name=longer", f"ckpt={trained}/checkpoints/last.ckpt", *longer).parent / "longer"
    through = train("name=through", *longer).parent / "through"
    rates = _column(resumed, "lr/generator")
    assert rates[1:] == pytest.approx(_column(through, "lr/generator")[4:])  # the first one was set before the stop
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_a_run_resumed_from_another_selects_its_own_best(train: Train, trained: Path) -> None:
    checkpoint = read_checkpoint(trained / "checkpoints" / "last.ckpt")
    checkpoint["callbacks"]["Checkpoints"]["best"] = 99.0
    torch.save(checkpoint, "other.ckpt")
    longer = train("name=longer", "ckpt=other.ckpt", "trainer.max_steps=5", "trainer.val_check_interval=5")
    assert (longer.parent / "longer" / "checkpoints" / "best.ckpt").exists()


def test_the_best_checkpoint_survives_a_stop(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """`last.ckpt` of a step is written before that step's validation and doesn't contain its metrics."""
    options = ["callbacks.checkpoints.every=2", "trainer.val_check_interval=2", "trainer.max_steps=6"]
    with monkeypatch.context() as patch:
        _stop_at(patch, 3)
        with pytest.raises(SystemExit):
            train(*options)
    run = Path("runs/run")
    best = read_checkpoint(run / "checkpoints" / "best.ckpt")
    best["callbacks"]["Checkpoints"]["best"] = 99.0  # better than whatever comes
    torch.save(best, run / "checkpoints" / "best.ckpt")
    train(*options)
    assert _score(run) == 99.0
    assert read_checkpoint(run / "checkpoints" / "best.ckpt")["global_step"] == 2
    validation = json.loads((run / "results.json").read_text())["validation"]
    assert validation["psnr"] == pytest.approx(_column(run, "val/psnr")[0])  # of the state that is kept


def test_a_failed_start_does_not_claim_the_folder(train: Train) -> None:
    with pytest.raises(SystemExit, match="there is no checkpoint nowhere"):
        train("ckpt=nowhere")
    assert json.loads((train() / "results.json").read_text())["steps"] == 3


def test_a_run_stopped_before_its_first_checkpoint_restarts_metrics_csv(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        _stop_at(patch, 2)
        with pytest.raises(SystemExit):
            train()
    run = Path("runs/run")
    assert _column(run, "loss/l1")
    train()
    assert len(_column(run, "loss/l1")) == 3


def test_the_config_is_that_of_the_training_that_wrote_the_checkpoints(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of an earlier failed attempt."""
    with monkeypatch.context() as patch:
        _stop_at(patch, 2)
        with pytest.raises(SystemExit):
            train("model.width=4")
    run = train("model.width=6")
    assert load_model(run).stem.out_channels == 6
    (run / "report.html").unlink()  # a kill between the results and the report
    train("model.width=6")
    assert (run / "report.html").exists()


def test_checkpoints_survive_a_lost_config(train: Train, trained: Path) -> None:
    (trained / "config.yaml").write_text("")
    with pytest.raises(SystemExit, match=r"config.yaml holds no run's config. Delete it, and the command"):
        train()
    (trained / "config.yaml").unlink()
    assert json.loads((train() / "results.json").read_text())["steps"] == 3
    assert "width" in (trained / "config.yaml").read_text()


def test_a_checkpoint_with_the_old_names_of_callbacks_resumes_exactly(train: Train, trained: Path) -> None:
    steps = "trainer.max_steps=5", "trainer.val_check_interval=5"
    file = trained / "checkpoints" / "last.ckpt"
    content = torch.load(file, weights_only=True)
    old_names = {"ResumeState": "Continuation", "Preemption": "Interruption", "NonFinite": "Trouble"}
    content["callbacks"] = {old_names.get(key, key): state for key, state in content["callbacks"].items()}
    assert {"Continuation", "Trouble"} <= content["callbacks"].keys()
    torch.save(content, "old.ckpt")
    final = []
    for name, checkpoint in (("new", file), ("old", "old.ckpt")):
        run = train(f"ckpt={checkpoint}", f"name={name}", *steps).parent / name
        final.append(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True))
    assert all(torch.equal(value, final[1]["state_dict"][key]) for key, value in final[0]["state_dict"].items())
    assert final[0]["callbacks"]["NonFinite"] == final[1]["callbacks"]["NonFinite"]


def test_a_checkpoint_beyond_max_steps_is_rejected(train: Train, trained: Path) -> None:
    first = trained / "checkpoints" / "last.ckpt"
    with pytest.raises(SystemExit, match=r"is at step 3 .*trainer.max_steps=3.*raise"):
        train("name=again", f"ckpt={first}")


def test_a_checkpoint_of_another_model_or_loss_is_rejected(train: Train, trained: Path) -> None:
    first = trained / "checkpoints" / "last.ckpt"
    for other in ("model.width=8", "loss=l1+adv"):
        with pytest.raises(SystemExit, match=r"^deblurlab: the checkpoint belongs to another model or loss"):
            train("name=other", f"ckpt={first}", other, "trainer.max_steps=9", "fresh=true")


def test_max_time_ends_the_training(train: Train) -> None:
    run = train("+trainer.max_time=00:00:00:01", "trainer.max_steps=100000", "trainer.val_check_interval=100000")
    assert 0 < json.loads((run / "results.json").read_text())["steps"] < 100000


@pytest.mark.slow
def test_a_sanity_check_records_no_metrics(train: Train) -> None:
    plain = train("name=a", "data.val=2").parent / "a"
    checked = train("name=b", "data.val=2", "trainer.num_sanity_val_steps=1").parent / "b"
    assert _column(plain, "val/psnr_blurred") == _column(checked, "val/psnr_blurred")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.accelerator=gpu", "gpu|CUDA|GPU"),
        ("trainer.precision=foo", "foo"),
        ("trainer.log_every_n_steps=0", "every"),
        ("loader.batch_size=0", "loader.batch_size=0"),
        ("module.accumulate=0", "accumulate"),
        ("loss.l1.weight=abc", "loss.l1.weight=abc"),
        ("+optimizer.generator.foo=1", "foo"),
        ("data.val=0", "data.val=0"),
        ("name=..", "name"),
        ("loss=l1+vgg loss.vgg=0.05", "loss.vgg=0.05 isn't a loss term: loss.vgg.weight=0.05"),
        ("loss=l1+fft loss.fft.norm=foo", "unknown norm 'foo'"),
        ("optimizer.betas=[0.9]", "optimizer.generator or scheduler.generator can't be built"),
        ("scheduler.interval=steps", "scheduler.interval=steps is unknown"),
        ("loss=adv module.discriminator_start=2", "the generator would not be trained"),
        ("loss=l1+adv discriminator.norm=group", "unknown norm 'group': none, instance, batch, spectral"),
        ("model=srn model.scales=0", "scales is 0"),
        ("model=deepdeblur model.kernel=4", "kernel is 4: it must be odd"),
        ("model=restormer model.heads=[3,3,3,3]", "must be divisible by heads"),
        ("model=nafnet_16 model.window=1", "window is 1"),
        (
            "augment.size=4 model.depth=0 loss=l1+adv",
            "augment.size=4 is too small for discriminator, which needs at least 6",
        ),
        (
            "data.height=8 data.width=80 augment.size=8",
            "validation/000000 cannot be measured: ssim: SSIM's window is 11x11, the image only 80x8; leave out",
        ),
    ],
)
def test_invalid_settings_are_one_line(train: Train, override: str, message: str) -> None:
    with pytest.raises(SystemExit, match=rf"(?s)^deblurlab: .*({message})"):
        train(*override.split(" "))


def test_training_without_logger(train: Train) -> None:
    run = train("~logger")
    assert (run / "report.html").exists()
    assert not (run / "metrics.csv").exists()


def test_a_terminated_run_keeps_its_last_step_and_is_unfinished(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    instantiate(config("+debug=smoke", f"data.root={data_root}").data).prepare()
    command = [
        sys.executable, "-m", "deblurlab", "train", "+debug=smoke", f"data.root={data_root}", *SMALL, "loss=l1",
        "name=term", "trainer.max_steps=100000", "trainer.val_check_interval=100000",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    metrics = Path("runs/term/metrics.csv")
    for _ in range(600):
        if metrics.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert "terminated; run the same command again to resume" in said
    kept = read_checkpoint(Path("runs/term/checkpoints/last.ckpt"))["global_step"]
    assert kept == _column(Path("runs/term"), "step")[-1]
    assert not Path("runs/term/results.json").exists()
