"""Clean exit on signals from the user or the cluster."""

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

from deblurlab._compat import write_logged_values
from deblurlab.errors import UserError

_TERMINATE = (signal.SIGTERM, signal.SIGINT)
_REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)
"""Signals that SLURM sends before the time limit, with `sbatch --signal`."""
_SAME_SIGNAL = 1.0
"""Seconds within which a second signal counts as the first one: some launchers signal a process and its group."""
_REQUEUE_WAIT = 60.0
"""Seconds that the other processes wait for the cluster to terminate a requeued job."""

_MESSAGE = b"\ndeblurlab: stopping after this batch; a second signal exits immediately\n"


class Preempted(SystemExit):
    """Exit of the program after a signal, with the status 128 + the signal's number."""


class Preemption(pl.Callback):
    """Clean exit on a signal: the batch is finished and a checkpoint is saved.

    On SIGTERM or SIGINT (Ctrl-C) the batch is finished, `last.ckpt` is written into `folder`, and the program exits
    with the status 143 or 130; a second signal terminates it immediately. A validation or test is aborted: a
    checkpoint was saved before it.

    On SIGUSR1 or SIGUSR2 the job is also requeued: by the handler that was installed before, such as submitit's, or
    else by SLURM's `scontrol requeue`. The restarted job resumes from the checkpoint.

    Every `every` batches, processes agree on whether any received a signal, which may reach them in different steps.

    Lightning's handler isn't used because it may write a checkpoint between the updates of the discriminator and the
    generator (Lightning issue 21406).

    Args:
        folder: Folder of the checkpoints.
        every: Batches between two agreements of the processes.

    Raises:
        UserError: SLURM cannot requeue the job.
    """

    def __init__(self, *, folder: str, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f"callbacks.preemption.every={every} must be at least 1")
        self._file, self._every = Path(folder) / "last.ckpt", every
        self._process = os.getpid()
        self._received: int | None = None
        self._received_at = 0.0
        self._previous_handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Install the signal handlers."""
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():  # Python sets handlers in the main thread only
            self._previous_handlers = {n: signal.signal(n, self._handle) for n in (*_TERMINATE, *_REQUEUE)}

    on_test_start = on_train_start

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # the data loader's workers inherit the handler
            return
        if self._received is None:
            self._received, self._received_at = number, time.monotonic()
            os.write(2, _MESSAGE)
        elif number in _TERMINATE and time.monotonic() - self._received_at > _SAME_SIGNAL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(self._process, number)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Save a checkpoint and exit if a signal was received."""
        if number := self._agreed_signal(trainer, trainer.global_step):
            trainer.save_checkpoint(self._file)
            write_logged_values(trainer)
            trainer.strategy.barrier()
            self._exit(trainer, number)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Exit if a signal was received."""
        if number := self._agreed_signal(trainer, batch_idx):
            self._exit(trainer, number)

    on_test_batch_end = on_validation_batch_end

    def _agreed_signal(self, trainer: pl.Trainer, batch: int) -> int | None:
        """Return the signal that all processes have agreed on, or None; a requeue takes precedence."""
        if trainer.world_size == 1:
            return self._received
        if batch % self._every or not trainer.strategy.reduce_boolean_decision(self._received is not None, all=False):
            return None
        numbers: list[Any] = [None] * trainer.world_size
        dist.all_gather_object(numbers, self._received)
        return max((number for number in numbers if number), key=lambda number: number in _REQUEUE)

    def _exit(self, trainer: pl.Trainer, number: int) -> None:
        if number in _REQUEUE:
            self._requeue(trainer, number)
        raise Preempted(128 + number)

    def _requeue(self, trainer: pl.Trainer, number: int) -> None:
        if trainer.global_rank:
            # Rank 0 requeues the job; SLURM counts a job as failed if another process exits before it is terminated.
            time.sleep(_REQUEUE_WAIT)
            return
        handlers = {n: handler for n, handler in self._previous_handlers.items() if n in _REQUEUE and callable(handler)}
        if handlers:
            number = number if number in handlers else max(handlers)
            handlers[number](number, None)
        elif job := os.environ.get("SLURM_JOB_ID"):
            requeued = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
            if requeued.returncode:
                raise UserError(
                    f"SLURM cannot requeue job {job} ({requeued.stderr.strip()}): run the same command again to resume"
                )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the previous signal handlers."""
        self._restore_handlers()

    on_test_end = on_train_end

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the previous signal handlers."""
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous_handlers = {}
