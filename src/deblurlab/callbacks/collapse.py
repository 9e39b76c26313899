"""Tells of a game that one player has won."""

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.training import Restoration

_LOG = logging.getLogger(__name__)
_REMEDIES = {
    1: "tells every image right, so the generator learns nothing from it any more. A lower "
    "optimizer.discriminator.lr, loss=...+adv with loss.adv.r1=10, module.image_pool=50 or a discriminator with "
    "discriminator.norm=spectral may help",
    0: "tells every image wrong, so what the generator learns from it is false. A higher optimizer.discriminator.lr, "
    "module.n_critic=2 or a smaller weight of the adversarial term may help",
}


class Collapse(pl.Callback):
    """Warns when a discriminator's accuracy has been 1 or 0 for `steps` steps in a row. It is counted on the device and
    looked at every `every` steps. Objectives without a boundary between real and made have no accuracy."""

    def __init__(self, *, steps: int = 1000, every: int = 50) -> None:
        if min(steps, every) < 1:
            raise ValueError(f"callbacks.collapse: steps={steps} and every={every} must be at least 1")
        self._steps, self._every = steps, every
        self._pinned: dict[tuple[str, int], Tensor] = {}
        self._told: set[tuple[str, int]] = set()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        assert isinstance(pl_module, Restoration)
        for name, accuracy in pl_module.accuracies().items():
            for value in (0, 1):
                before = self._pinned.get((name, value), torch.zeros_like(accuracy, dtype=torch.int64))
                self._pinned[name, value] = torch.where(accuracy == value, before.to(accuracy.device) + 1, 0)
        if trainer.global_step % self._every == 0:
            self._look(trainer.global_step)

    def _look(self, step: int) -> None:
        for (name, value), count in self._pinned.items():
            pinned = int(count) >= self._steps
            if pinned and (name, value) not in self._told:
                _LOG.warning("step %d: for %d steps the %s %s.", step, int(count), name, _REMEDIES[value])
            (self._told.add if pinned else self._told.discard)((name, value))

    def state_dict(self) -> dict[str, Any]:
        return {"pinned": [(name, value, int(count)) for (name, value), count in self._pinned.items()]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._pinned = {(name, value): torch.tensor(count) for name, value, count in state_dict["pinned"]}
