"""A signal in the midst of a step: the step is finished and kept, then the job is queued again."""

import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from deblurlab.callbacks import Preemption
from deblurlab.checkpoints import read_checkpoint
from deblurlab.errors import UserError
from steps import fit, module


class Signalled(pl.Callback):
    """Sends the signal when the third batch begins."""

    def on_train_batch_start(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGUSR2)


def test_the_step_is_kept_before_the_job_is_queued_again(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def submitit(number: int, frame: object) -> None:
        told.append((number, read_checkpoint(tmp_path / "last.ckpt")["global_step"]))

    before = signal.signal(signal.SIGUSR2, submitit)
    try:
        with pytest.raises(SIGTERMException):
            fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled())
        assert signal.getsignal(signal.SIGUSR2) is submitit
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert told == [(signal.SIGUSR2, 3)]


@pytest.mark.parametrize("code", [0, 1])
def test_a_job_without_a_scheduler_of_its_own_queues_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/said\necho not now >&2\nexit {code}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with pytest.raises(UserError if code else SIGTERMException, match="job 17 again .not now" if code else None):
        fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled())
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    assert (tmp_path / "said").read_text() == "requeue 17\n"
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3


def test_without_a_signal_nothing_happens(tmp_path: Path) -> None:
    fit(module(), 2, Preemption(folder=str(tmp_path)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="every=0"):
        Preemption(folder="", every=0)
