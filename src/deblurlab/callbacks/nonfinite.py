"""What to do when a training's numbers have gone wrong."""

import logging
from pathlib import Path
from typing import Any, Literal, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.training.phased import PhasedModule

_LOG = logging.getLogger(__name__)
Policy = Literal["stop", "skip", "rollback"]


class Rollback(Exception):  # noqa: N818  nothing has failed yet
    """The training shall go on from its last checkpoint, with lower rates."""


class NonFinite(pl.Callback):
    """Sees to NaN and infinities in loss terms that carry weight and in gradients. The module doesn't take such steps,
    so the weights are sound whatever happens here. The device's notes are read every `every` steps, before validation
    and before a checkpoint is written, so that no step waits for them.

    Args:
        folder: Where the checkpoints are.
        policy: "stop" ends the training, naming the step and the term. "skip" goes on without those batches, with a
            warning, and ends the training when `max_consecutive` of them were. "rollback" goes on from the last checkpoint
            with the learning rates times `factor`, at most `max_rollbacks` times.
        every: Steps.

    Raises:
        UserError: As the policy says.
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
            raise ValueError(f"every={every}: steps are at least 1 (trainer.log_every_n_steps)")
        if policy not in get_args(Policy):
            raise ValueError(f"callbacks.nonfinite.policy={policy} is unknown: {', '.join(get_args(Policy))}")
        if not 0 < factor < 1:
            raise ValueError(f"callbacks.nonfinite.factor={factor} must be between 0 and 1")
        self._folder, self._policy, self._every = Path(folder), policy, every
        self._max_consecutive, self._factor, self._max_rollbacks = max_consecutive, factor, max_rollbacks
        self._returns, self._kept_returns = 0, 0
        self.skipped = 0
        """Steps that weren't taken."""
        self._names: list[str] = []
        self._first: Tensor | None = None
        self._count: Tensor | None = None
        self._running: Tensor | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._first = self._count = None
        self._names = []
        factor = self._factor ** (self._returns - self._kept_returns)  # the checkpoint may be of before several
        self._kept_returns = self._returns
        for optimizer in trainer.optimizers if factor != 1 else ():
            for group in optimizer.param_groups:
                group["lr"] *= factor
                group["initial_lr"] *= factor
        for config in trainer.lr_scheduler_configs if factor != 1 else ():
            config.scheduler.base_lrs = [rate * factor for rate in config.scheduler.base_lrs]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, PhasedModule)
        if list(pl_module.nonfinite) != self._names:  # an adversary comes into play
            self._read(trainer)
            self._names, self._first = list(pl_module.nonfinite), None
        bad = torch.stack(list(pl_module.nonfinite.values()))
        if self._first is None or self._count is None:
            self._first = torch.zeros(len(bad), dtype=torch.int64, device=bad.device)
            self._count = torch.zeros((), dtype=torch.int64, device=bad.device)
        self._first = torch.where((self._first == 0) & bad, trainer.global_step, self._first)
        self._count += bad.any()
        running = torch.zeros_like(self._count) if self._running is None else self._running.to(bad.device)
        self._running = torch.where(bad.any(), running + 1, 0)
        if trainer.global_step % self._every == 0:
            self._read(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._read(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._read(trainer)
        checkpoint["callbacks"][self.state_key] = self.state_dict()  # Lightning asked before

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._read(trainer)

    def state_dict(self) -> dict[str, Any]:
        running = 0 if self._running is None else int(self._running)
        return {"returns": self._returns, "skipped": self.skipped, "running": running}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._kept_returns, self.skipped = state_dict["returns"], state_dict["skipped"]
        self._running = torch.tensor(state_dict["running"])
        self._returns = max(self._returns, self._kept_returns)

    def _read(self, trainer: pl.Trainer) -> None:
        """Look at the device's notes, and begin new ones."""
        if self._first is None or self._count is None:
            return
        count, steps = int(self._count), self._first.tolist()
        self._first = self._count = None
        if not trainer.strategy.reduce_boolean_decision(count > 0, all=False):
            return
        found = [(step, i) for i, step in enumerate(steps) if step]  # terms come before gradients
        step, i = min(found, default=(trainer.global_step, None))
        name = "another process's loss" if i is None else self._names[i]
        self.skipped += count
        running = 0 if self._running is None else int(self._running)
        lasting = trainer.strategy.reduce_boolean_decision(running >= self._max_consecutive, all=False)
        self._act(f"{name} was no finite number at step {step}, which wasn't taken", count, lasting=lasting)

    def _act(self, what: str, count: int, *, lasting: bool) -> None:
        advice = "a lower optimizer.lr, module.gradient_clip=1 or a smaller weight of that term may help"
        good = sorted(self._folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
        if self._policy == "skip" and not lasting:
            _LOG.warning("%s (%d since the last look, %d in all): the training goes on.", what, count, self.skipped)
        elif self._policy == "rollback" and good and self._returns < self._max_rollbacks:
            self._returns += 1
            raise Rollback(
                f"{what}: the training goes back to its last checkpoint, with learning rates times "
                f"{self._factor**self._returns:g}"
            )
        else:
            kept = f"the last good checkpoint is {good[-1]}" if good else "no checkpoint had been written yet"
            again = f" again after going back {self._returns} times" if self._returns else ""
            raise UserError(f"{what}, and the training stopped{again}; {kept}. {advice[0].upper()}{advice[1:]}")
