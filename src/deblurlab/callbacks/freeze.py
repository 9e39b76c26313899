"""Parts of the generator that learn later."""

from typing import Any

import pytorch_lightning as pl
from torch import nn


class FreezeBackbone(pl.Callback):
    """Keeps the generator's `backbone`, if it has one, as it is for the first `epochs` epochs, its parameters and the
    statistics of its norms, so that what was learnt elsewhere isn't lost to the noise of a new network around it
    (DeblurGAN-v2: 3)."""

    def __init__(self, *, epochs: int) -> None:
        self._epochs = epochs
        self._frozen = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        # Not at an epoch's start: a run that is resumed within one wouldn't come by there.
        frozen, backbone = trainer.current_epoch < self._epochs, getattr(pl_module.generator, "backbone", None)
        if frozen != self._frozen and isinstance(backbone, nn.Module):
            backbone.requires_grad_(not frozen)
            self._frozen = frozen
        if frozen and isinstance(backbone, nn.Module):
            backbone.eval()  # validation has put all into training again
