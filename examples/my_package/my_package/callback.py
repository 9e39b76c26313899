"""Callback of one's own."""

from typing import Any

import pytorch_lightning as pl
from torch.nn.utils import get_total_norm


class WeightNorm(pl.Callback):
    """Log the norm of the generator's weights after every `every`th step."""

    def __init__(self, *, every: int = 1) -> None:
        self.every = every

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *batch: Any) -> None:
        """Log the norm."""
        if trainer.global_step % self.every == 0:
            pl_module.log("weight_norm", get_total_norm(list(pl_module.generator.parameters())))
