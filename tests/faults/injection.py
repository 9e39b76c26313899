"""Faults, at chosen moments of a training in this process."""

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
from deblurlab.training import Restoration

MOMENTS = (
    "a batch begins", "between the players", "a gradient is there", "a batch ends", "a checkpoint is half written",
    "a checkpoint is renamed", "a row of metrics", "validation", "validation ends", "an epoch ends", "the test",
)  # fmt: skip
Act = Callable[[Restoration | None], None]


class Moments:
    """Counts the moments of a training, and acts at one of them."""

    def __init__(self, moment: str | None = None, number: int = 0, act: Act | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._at, self._act = (moment, number), act
        self._module: Restoration | None = None
        self._hook(Restoration, "training_step", "a batch begins")
        self._hook(Restoration, "_update", "between the updates")
        self._hook(Restoration, "on_before_optimizer_step", "a gradient is there")
        self._hook(Checkpoints, "on_train_batch_end", "a batch ends")
        self._hook(Restoration, "log_step", "a row of metrics")
        self._hook(Restoration, "test_step", "the test")
        self._hook(Checkpoints, "on_validation_end", "validation ends")
        self._hook(ResumeState, "on_train_epoch_end", "an epoch ends")
        self._hook(ResumeState, "on_validation_batch_end", "validation")
        self._hook(checkpoints.Path, "replace", "a checkpoint is renamed", lambda path: ".ckpt" in path.name)
        self._halve_writing()

    def _hook(self, of: Any, name: str, moment: str, when: Callable[[Any], bool] = lambda self: True) -> None:
        original = getattr(of, name)

        def hooked(this: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(this, Restoration):
                self._module = this
            if when(this):
                self._now(moment)
            return original(this, *args, **kwargs)

        setattr(of, name, hooked)

    def _halve_writing(self) -> None:
        original = torch.save

        def save(content: object, file: Any, **options: Any) -> None:
            if options:  # of something that travels between processes
                original(content, file, **options)
                return
            original(content, whole := io.BytesIO())
            data = whole.getvalue()
            file.write(data[: len(data) // 2])
            file.flush()
            self._now("a checkpoint is half written")
            file.write(data[len(data) // 2 :])

        checkpoints.torch.save = save  # type: ignore[assignment]

    def _now(self, moment: str) -> None:
        self.counts[moment] += 1
        if self._act is not None and (moment, self.counts[moment]) == self._at:
            self._act(self._module)


def send(number: int, note: Path) -> Act:
    """Sends this process a signal, and notes the step that is under way."""

    def act(module: Restoration | None) -> None:
        note.write_text(str(0 if module is None else module.global_step))
        os.kill(os.getpid(), number)

    return act


def kill_a_worker(module: Restoration | None) -> None:
    import multiprocessing

    os.kill(int(multiprocessing.active_children()[0].pid or 0), signal.SIGKILL)


def spoil_the_gradient(module: Restoration | None) -> None:
    assert module is not None
    for parameter in module.parameters():  # of whichever player is about to step
        if parameter.grad is not None:
            parameter.grad.fill_(torch.nan)
