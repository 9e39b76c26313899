"""Handling of NaN and infinity in losses and gradients."""

import logging
from pathlib import Path
from typing import Any, Literal, cast, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.callbacks.protocols import TracksNonFinite
from deblurlab.errors import UserError

_LOG = logging.getLogger(__name__)
Policy = Literal["stop", "skip", "rollback"]


class Rollback(Exception):  # noqa: N818  it requests a rollback and isn't an error
    """Request to resume from the last checkpoint with lower learning rates."""


class NonFinite(pl.Callback):
    """Policy for NaN and infinity in gradients and in weighted loss terms.

    The module skips such updates, so the weights stay finite under every policy. Skipped updates are counted on the
    device. The counts are read only every `every` steps, before each validation and before each checkpoint, because
    reading them synchronises with the device.

    Args:
        folder: Folder of the checkpoints.
        policy: "stop" ends the training with a message that names the step and the term. "skip" logs a warning and
            continues, but ends the training after `max_consecutive` skipped steps in a row. "rollback" resumes from
            the last checkpoint with the learning rates multiplied by `factor`, at most `max_rollbacks` times.
        every: Steps between two reads of the counts.
        max_consecutive: Number of consecutive skipped steps that ends the training under "skip".
        factor: Factor of the learning rates for each rollback, in (0, 1).
        max_rollbacks: Maximum number of rollbacks.

    Raises:
        UserError: When the policy ends the training.
    """

    def __init__(
        self,
        *,
        folder: str,
        policy: Policy = "stop",
        every: int = 50,
        max_consecutive: int = 50,
        factor: float = 0.5,
        max_rollbacks: int = 3,
    ) -> None:
        if every < 1:
            raise ValueError(f"callbacks.nonfinite.every={every} must be at least 1 (trainer.log_every_n_steps)")
        if policy not in get_args(Policy):
            raise ValueError(f"callbacks.nonfinite.policy={policy} is unknown: {', '.join(get_args(Policy))}")
        if not 0 < factor < 1:
            raise ValueError(f"callbacks.nonfinite.factor={factor} must be between 0 and 1")
        self._folder, self._policy, self._every = Path(folder), policy, every
        self._max_consecutive, self._factor, self._max_rollbacks = max_consecutive, factor, max_rollbacks
        self._rollbacks, self._applied_rollbacks = 0, 0
        """Rollbacks so far, and those that the loaded learning rates already include."""
        self.skipped = 0
        """Number of skipped steps."""
        self._names: list[str] = []
        self._first_steps: Tensor | None = None
        """For each name the first step since the last read at which it was not finite, or 0; on the device."""
        self._count: Tensor | None = None
        self._running: Tensor | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Multiply the learning rates by the factor of the rollbacks that the checkpoint does not include."""
        self._first_steps = self._count = None
        self._names = []
        factor = self._factor ** (self._rollbacks - self._applied_rollbacks)
        self._applied_rollbacks = self._rollbacks
        for optimizer in trainer.optimizers if factor != 1 else ():
            for group in optimizer.param_groups:
                group["lr"] *= factor
                group["initial_lr"] *= factor
        for config in trainer.lr_scheduler_configs if factor != 1 else ():
            config.scheduler.base_lrs = [rate * factor for rate in config.scheduler.base_lrs]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step on the device if something was not finite."""
        nonfinite = cast("TracksNonFinite", pl_module).nonfinite
        if list(nonfinite) != self._names:  # the discriminator starts at a later step
            self._read(trainer)
            self._names, self._first_steps = list(nonfinite), None
        bad = torch.stack(list(nonfinite.values()))
        if self._first_steps is None or self._count is None:
            self._first_steps = torch.zeros(len(bad), dtype=torch.int64, device=bad.device)
            self._count = torch.zeros((), dtype=torch.int64, device=bad.device)
        self._first_steps = torch.where((self._first_steps == 0) & bad, trainer.global_step, self._first_steps)
        self._count += bad.any()
        running = torch.zeros_like(self._count) if self._running is None else self._running.to(bad.device)
        self._running = torch.where(bad.any(), running + 1, 0)
        if trainer.global_step % self._every == 0:
            self._read(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the counts."""
        self._read(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read the counts, and store the state that includes them."""
        self._read(trainer)
        checkpoint["callbacks"][self.state_key] = self.state_dict()  # Lightning calls state_dict before this hook

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the counts."""
        self._read(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Return the numbers of rollbacks and of skipped steps."""
        running = 0 if self._running is None else int(self._running)
        # "returns" is the key of older checkpoints.
        return {"returns": self._rollbacks, "skipped": self.skipped, "running": running}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the numbers of rollbacks and of skipped steps."""
        self._applied_rollbacks, self.skipped = state_dict["returns"], state_dict["skipped"]
        self._running = torch.tensor(state_dict["running"])
        self._rollbacks = max(self._rollbacks, self._applied_rollbacks)  # the checkpoint may precede some of them

    def _read(self, trainer: pl.Trainer) -> None:
        """Read and reset the counts; apply the policy if a step was skipped in any process."""
        if self._first_steps is None or self._count is None:
            return
        count, steps = int(self._count), self._first_steps.tolist()
        self._first_steps = self._count = None
        if not trainer.strategy.reduce_boolean_decision(count > 0, all=False):
            return
        found = [(step, i) for i, step in enumerate(steps) if step]  # loss terms precede gradients
        step, i = min(found, default=(trainer.global_step, None))
        name = "the loss of another process" if i is None else self._names[i]
        self.skipped += count
        running = 0 if self._running is None else int(self._running)
        persistent = trainer.strategy.reduce_boolean_decision(running >= self._max_consecutive, all=False)
        self._apply_policy(f"{name} was not finite at step {step}, whose update was skipped", count, persistent)

    def _apply_policy(self, message: str, count: int, persistent: bool) -> None:
        checkpoints = sorted(self._folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        if self._policy == "skip" and not persistent:
            _LOG.warning(
                "%s (skipped since the last check: %d, in total: %d); training continues.", message, count, self.skipped
            )
        elif self._policy == "rollback" and checkpoints and self._rollbacks < self._max_rollbacks:
            self._rollbacks += 1
            raise Rollback(
                f"{message}: rolling back to the last checkpoint with the learning rates multiplied by "
                f"{self._factor**self._rollbacks:g}"
            )
        else:
            last = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "no checkpoint was written yet"
            after = f" after {self._rollbacks} rollbacks" if self._rollbacks else ""
            raise UserError(
                f"{message}, and training stopped{after}; {last}. Try a lower optimizer.lr, module.gradient_clip=1 or "
                f"a smaller weight of that term"
            )
