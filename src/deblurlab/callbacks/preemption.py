"""What to do when a cluster wants its machine back."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.exceptions import SIGTERMException

from deblurlab.errors import UserError

_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
"""What SLURM is usually asked to send some time before the end: `sbatch --signal`."""
_WAIT = 60.0
"""Seconds in which a job that has been queued again is ended by the cluster."""


class Preemption(pl.Callback):
    """On SIGUSR1 or SIGUSR2, finishes the batch, writes `last.ckpt` into `folder`, and lets whoever handled the signal
    before, such as submitit, queue the job again; where nobody did, a SLURM job queues itself. When it starts again the
    training goes on from there. Outside of a cluster it ends like a training that was terminated.

    Several processes agree every `every` steps whether one of them has had the signal: it doesn't reach all of them
    within the same step.

    Lightning's own way writes a checkpoint wherever the signal comes, which may be between the two players' updates
    (Lightning issue 21406).

    Raises:
        UserError: The job can't be queued again.
    """

    def __init__(self, *, folder: str, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"every={every} must be at least 1")
        self._file, self._every = Path(folder) / "last.ckpt", every
        self._process = os.getpid()
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._process, self._received = os.getpid(), None
        if threading.current_thread() is threading.main_thread():  # no other can be asked
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:  # the loader's workers inherit this
            self._received = number

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.world_size > 1:
            if trainer.global_step % self._every:
                return
            if not trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
                return
        elif self._received is None:
            return
        trainer.save_checkpoint(self._file)
        trainer.strategy.barrier()
        self._leave(trainer)

    def _leave(self, trainer: pl.Trainer) -> None:
        if trainer.global_rank:
            # The first process queues again, whereupon all are ended; an end of this one before that fails the job.
            time.sleep(_WAIT)
            raise SIGTERMException
        handlers = {number: handle for number, handle in self._before.items() if callable(handle)}
        if handlers:
            number = self._received if self._received in handlers else max(handlers)
            handlers[number](number, None)
        elif job := os.environ.get("SLURM_JOB_ID"):
            done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"SLURM won't queue job {job} again ({done.stderr.strip()}): the same command goes on")
        raise SIGTERMException

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handle in self._before.items():
            signal.signal(number, signal.SIG_DFL if handle is None else handle)
        self._before = {}
