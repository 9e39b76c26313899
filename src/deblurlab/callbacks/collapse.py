"""Detection of adversarial training that has failed."""

import logging
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.callbacks.protocols import HasAccuracies

_LOG = logging.getLogger(__name__)
_WARNINGS = {
    1: "has classified every image correctly for %d steps, so the generator no longer learns from it. Try a lower "
    "optimizer.discriminator.lr, loss=...+adv with loss.adv.r1=10, module.image_pool=50 or "
    "discriminator.norm=spectral",
    0: "has classified every image incorrectly for %d steps, so its gradient misleads the generator. Try a higher "
    "optimizer.discriminator.lr, module.n_critic=2 or a smaller weight of the adversarial term",
}
"""Accuracy -> message, formatted with the number of steps."""


class Collapse(pl.Callback):
    """Warning when the discriminator's accuracy shows that one of the two networks dominates.

    A warning is logged when the accuracy has been exactly 1 (the discriminator dominates) or 0 (the generator
    dominates) for `steps` consecutive steps. The accuracy can't show mode collapse. Steps are counted on
    the device, and the counts are read every `every` steps. Objectives without a decision boundary between real and
    restored images have no accuracy.
    """

    def __init__(self, *, steps: int = 1000, every: int = 50) -> None:
        if min(steps, every) < 1:
            raise ValueError(f"callbacks.collapse: steps={steps} and every={every} must be at least 1")
        self._steps, self._every = steps, every
        self._consecutive: dict[tuple[str, int], Tensor] = {}
        self._warned: set[tuple[str, int]] = set()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Count consecutive steps with an accuracy of 0 or 1."""
        for name, accuracy in cast("HasAccuracies", pl_module).accuracies().items():
            for value in (0, 1):
                before = self._consecutive.get((name, value), torch.zeros_like(accuracy, dtype=torch.int64))
                self._consecutive[name, value] = torch.where(accuracy == value, before.to(accuracy.device) + 1, 0)
        if trainer.global_step % self._every == 0:
            self._warn(trainer.global_step)

    def _warn(self, step: int) -> None:
        """Log each new warning once."""
        for (name, value), count in self._consecutive.items():
            reached = int(count) >= self._steps
            if reached and (name, value) not in self._warned:
                _LOG.warning("step %d: the %s %s.", step, name, _WARNINGS[value] % int(count))
            (self._warned.add if reached else self._warned.discard)((name, value))

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of consecutive steps."""
        # "pinned" is the key of older checkpoints.
        return {"pinned": [(name, value, int(count)) for (name, value), count in self._consecutive.items()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the counts of consecutive steps."""
        self._consecutive = {(name, value): torch.tensor(count) for name, value, count in state_dict["pinned"]}
