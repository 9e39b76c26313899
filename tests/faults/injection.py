"""Injection of faults at chosen moments of a training in this process."""

import io
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from deblurlab.callbacks import Checkpoints, ResumeState
from deblurlab.checkpoints import io as checkpoints
from deblurlab.training import Restoration

MOMENTS = (
    "a batch starts", "an update starts", "gradients are ready", "a batch ends", "a checkpoint is half written",
    "a checkpoint is renamed", "metrics are logged", "a validation batch ends", "a validation ends", "an epoch ends",
    "a test batch starts",
)  # fmt: skip
Act = Callable[[Restoration | None], None]


class Moments:
    """Counter of the moments of a training that calls a function at one of them."""

    def __init__(self, moment: str | None = None, number: int = 0, act: Act | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._at, self._act = (moment, number), act
        self._module: Restoration | None = None
        self._hook(Restoration, "training_step", "a batch starts")
        self._hook(Restoration, "_update", "an update starts")
        self._hook(Restoration, "on_before_optimizer_step", "gradients are ready")
        self._hook(Checkpoints, "on_train_batch_end", "a batch ends")
        self._hook(Restoration, "_log_step", "metrics are logged")
        self._hook(Restoration, "test_step", "a test batch starts")
        self._hook(Checkpoints, "on_validation_end", "a validation ends")
        self._hook(ResumeState, "on_train_epoch_end", "an epoch ends")
        self._hook(ResumeState, "on_validation_batch_end", "a validation batch ends")
        self._hook(checkpoints.Path, "replace", "a checkpoint is renamed", lambda path: ".ckpt" in path.name)
        self._split_writing()

    def _hook(self, of: Any, name: str, moment: str, when: Callable[[Any], bool] = lambda self: True) -> None:
        original = getattr(of, name)

        def hooked(this: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(this, Restoration):
                self._module = this
            if when(this):
                self._count(moment)
            return original(this, *args, **kwargs)

        setattr(of, name, hooked)

    def _split_writing(self) -> None:
        original = torch.save

        def save(content: object, file: Any, **options: Any) -> None:
            if options:  # data sent to another process
                original(content, file, **options)
                return
            original(content, buffer := io.BytesIO())
            data = buffer.getvalue()
            file.write(data[: len(data) // 2])
            file.flush()
            self._count("a checkpoint is half written")
            file.write(data[len(data) // 2 :])

        checkpoints.torch.save = save  # type: ignore[assignment]

    def _count(self, moment: str) -> None:
        self.counts[moment] += 1
        if self._act is not None and (moment, self.counts[moment]) == self._at:
            self._act(self._module)


def send_signal(number: int, note: Path) -> Act:
    """Return a function that writes the current step to a file and sends a signal to this process."""

    def act(module: Restoration | None) -> None:
        note.write_text(str(0 if module is None else module.global_step))
        os.kill(os.getpid(), number)

    return act


def kill_worker(module: Restoration | None) -> None:
    """Kill a worker of the data loader."""
    import multiprocessing

    os.kill(int(multiprocessing.active_children()[0].pid or 0), signal.SIGKILL)


def set_gradients_to_nan(module: Restoration | None) -> None:
    """Replace all gradients by NaN."""
    assert module is not None
    for parameter in module.parameters():  # only the network that is updated has gradients
        if parameter.grad is not None:
            parameter.grad.fill_(torch.nan)
