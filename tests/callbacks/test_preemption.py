"""A signal during a step: the step is finished and saved, then the job is requeued or the program exits."""

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
    """Callback that sends a signal when the third batch begins."""

    def __init__(self, number: int = signal.SIGUSR2, *, times: int = 1, interval: float = 0) -> None:
        self._number, self._times, self._interval = number, times, interval

    def on_train_batch_start(self, trainer: pl.Trainer, *args: object) -> None:
        for _ in range(self._times if trainer.global_step == 2 else 0):
            os.kill(os.getpid(), self._number)
            time.sleep(self._interval)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_batch_is_finished_and_saved_and_the_exit_status_names_the_signal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], number: int, code: int
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Preempted) as end:  # two signals within a second count as one
        fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled(number, times=2))
    assert end.value.code == code
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3
    assert capfd.readouterr().err.count("stopping after this batch") == 1
    assert signal.getsignal(number) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_terminates_immediately(tmp_path: Path, number: int) -> None:
    if (child := os.fork()) == 0:  # the signal kills this process
        fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled(number, times=2, interval=1.1))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    assert not (tmp_path / "last.ckpt").exists()


def test_the_step_is_saved_before_the_job_is_requeued(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    def submitit(number: int, frame: object) -> None:
        calls.append((number, read_checkpoint(tmp_path / "last.ckpt")["global_step"]))

    before = signal.signal(signal.SIGUSR2, submitit)
    try:
        with pytest.raises(Preempted):
            fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled())
        assert signal.getsignal(signal.SIGUSR2) is submitit
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert calls == [(signal.SIGUSR2, 3)]


@pytest.mark.parametrize("code", [0, 1])
def test_a_slurm_job_without_another_handler_requeues_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/arguments\necho not now >&2\nexit {code}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with pytest.raises(UserError if code else Preempted, match="cannot requeue job 17 .not now" if code else None):
        fit(module(), 6, Preemption(folder=str(tmp_path)), Signalled())
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    assert (tmp_path / "arguments").read_text() == "requeue 17\n"
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 3


def test_without_a_signal_nothing_is_written(tmp_path: Path) -> None:
    fit(module(), 2, Preemption(folder=str(tmp_path)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="every=0"):
        Preemption(folder="", every=0)
