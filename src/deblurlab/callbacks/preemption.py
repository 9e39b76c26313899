"""What to do when somebody wants a training to end, or a cluster its machine back."""

import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from deblurlab.errors import UserError

_END = (signal.SIGTERM, signal.SIGINT)
_QUEUE_AGAIN = (signal.SIGUSR1, signal.SIGUSR2)
"""What SLURM is usually asked to send some time before the end: `sbatch --signal`."""
_SAME = 1.0
"""Seconds within which a second signal is the first one: some send it to a process and to its group."""
_WAIT = 60.0
"""Seconds in which a job that has been queued again is ended by the cluster."""


class Preempted(SystemExit):
    """Ends the program with 128 + the signal's number, as a shell has it."""


class Preemption(pl.Callback):
    """On SIGTERM or SIGINT (Ctrl-C), finishes the batch, writes `last.ckpt` into `folder` and ends the program with the
    exit status 143 or 130; a second signal ends it at once. A validation or test isn't finished: what came before it
    has been kept.

    On SIGUSR1 or SIGUSR2, does the same, and lets whoever handled the signal before, such as submitit, queue the job
    again; where nobody did, a SLURM job queues itself. When it starts again the training goes on from there.

    Several processes agree every `every` batches whether one of them has had a signal: it doesn't reach all of them
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
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():  # no other can be asked
            self._before = {number: signal.signal(number, self._note) for number in (*_END, *_QUEUE_AGAIN)}

    on_test_start = on_train_start

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # the loader's workers inherit this
            return
        if self._received is None:
            self._received, self._since = number, time.monotonic()
            os.write(2, b"\ndeblurlab: finishing the batch and keeping its state; once more ends at once\n")
        elif number in _END and time.monotonic() - self._since > _SAME:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self._process, number)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if number := self._agreed(trainer, trainer.global_step):
            trainer.save_checkpoint(self._file)
            trainer.strategy.barrier()
            self._leave(trainer, number)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        if number := self._agreed(trainer, batch_idx):
            self._leave(trainer, number)

    on_test_batch_end = on_validation_batch_end

    def _agreed(self, trainer: pl.Trainer, batch: int) -> int | None:
        """The signal for which to leave after this batch, if there is one."""
        if trainer.world_size == 1:
            return self._received
        if batch % self._every or not trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            return None
        numbers: list[Any] = [None] * trainer.world_size
        dist.all_gather_object(numbers, self._received)
        return max((number for number in numbers if number), key=lambda number: number in _QUEUE_AGAIN)

    def _leave(self, trainer: pl.Trainer, number: int) -> None:
        if number in _QUEUE_AGAIN:
            self._queue_again(trainer, number)
        raise Preempted(128 + number)

    def _queue_again(self, trainer: pl.Trainer, number: int) -> None:
        if trainer.global_rank:
            # The first process queues again, whereupon all are ended; an end of this one before that fails the job.
            time.sleep(_WAIT)
            return
        handlers = {n: handle for n, handle in self._before.items() if n in _QUEUE_AGAIN and callable(handle)}
        if handlers:
            number = number if number in handlers else max(handlers)
            handlers[number](number, None)
        elif job := os.environ.get("SLURM_JOB_ID"):
            done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
            if done.returncode:
                raise UserError(f"SLURM won't queue job {job} again ({done.stderr.strip()}): the same command goes on")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    on_test_end = on_train_end

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handle in self._before.items():
            signal.signal(number, signal.SIG_DFL if handle is None else handle)
        self._before = {}
