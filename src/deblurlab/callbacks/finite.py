"""Stops a training whose numbers have gone wrong."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.errors import UserError


class StopOnNonFinite(pl.Callback):
    """Ends the run when a loss term has become NaN or infinite, naming the term and its first bad step.

    The test happens on the device in every step; the answer is read every `every` steps, before validation, and before
    a checkpoint is written, so that no step waits for it and no bad weights are kept.

    Raises:
        UserError: A term is not finite.
    """

    def __init__(self, *, folder: str, every: int = 50) -> None:
        if every < 1:
            raise ValueError(f"every={every}: steps are at least 1 (trainer.log_every_n_steps)")
        self._folder = Path(folder)
        self._every = every
        self._names: list[str] = []
        self._first_bad: Tensor | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if list(outputs) != self._names:  # an adversary comes into play
            self._check()
            self._names, self._first_bad = list(outputs), None
        bad = ~torch.isfinite(torch.stack([value.detach() for value in outputs.values()]))
        if self._first_bad is None:
            self._first_bad = torch.zeros(len(bad), dtype=torch.int64, device=bad.device)
        self._first_bad = torch.where((self._first_bad == 0) & bad, trainer.global_step, self._first_bad)
        if trainer.global_step % self._every == 0:
            self._check()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check()

    def _check(self) -> None:
        if self._first_bad is None:
            return
        found = [(step, name) for step, name in zip(self._first_bad.tolist(), self._names, strict=True) if step]
        if found:
            step, name = min(found)
            good = sorted(self._folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
            kept = f"the last good checkpoint is {good[-1]}" if good else "no checkpoint had been written yet"
            raise UserError(
                f"loss/{name} was no finite number at step {step} and the training stopped; {kept}. "
                f"A lower optimizer.lr, module.gradient_clip=1 or a smaller weight of that term may help"
            )
