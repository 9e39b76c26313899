"""A signal in the midst of a step: the step is finished and kept, then the job is queued again."""

import os
import signal
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl

from deblurlab.callbacks import Preemption
from deblurlab.callbacks.preemption import Preempted
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.errors import UserError
from steps import fit, module


class Signalled(pl.Callback):
    """Sends the signal when the third batch begins."""

    def __init__(self, number: int = signal.SIGUSR2, *, times: int = 1, apart: float = 0) -> None:
        self._number, self._times, self._apart = number, times, apart

    def on_train_batch_start(self, trainer: pl.Trainer, *args: object) -> None:
        for _ in range(self._times if trainer.global_step == 2 else 0):
            os.kill(os.getpid(), self._number)
            time.sleep(self._apart)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_batch_is_finished_and_kept_and_the_exit_status_tells_the_signal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Preempted) as end:  # twice at once is once: a group's signal and the process's own
        fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled(number, times=2))
    assert end.value.code == code
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3
    assert capfd.readouterr().err.count("finishing the batch") == 1
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, number: int) -> None:
    if (child := os.fork()) == 0:  # which it kills
        fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled(number, times=2, apart=1.1))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    assert not (tmp_path / "last.ckpt").exists()


def test_the_step_is_kept_before_the_job_is_queued_again(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    def submitit(number: int, frame: object) -> None:
        told.append((number, read_checkpoint(tmp_path / "last.ckpt")["global_step"]))

    before = signal.signal(signal.SIGUSR2, submitit)
    try:
        with pytest.raises(Preempted):
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
    with pytest.raises(UserError if code else Preempted, match="job 17 again .not now" if code else None):
        fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled())
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    assert (tmp_path / "said").read_text() == "requeue 17\n"
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3


def test_without_a_signal_nothing_happens(tmp_path: Path) -> None:
    fit(module(), 2, Preemption(folder=str(tmp_path)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="every=0"):
        Preemption(folder="", every=0)
