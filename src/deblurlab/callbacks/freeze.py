"""Freezing of pretrained parts of the generator."""

from typing import Any

import pytorch_lightning as pl
from torch import nn


class FreezeBackbone(pl.Callback):
    """Freezing of the generator's `backbone` for the first `epochs` epochs (DeblurGAN-v2, ICCV 2019: 3 epochs).

    The parameters and the statistics of the normalization layers stay constant, so that gradients from randomly
    initialised layers do not destroy pretrained features. A generator without a `backbone` is not affected.
    """

    def __init__(self, *, epochs: int) -> None:
        self._epochs = epochs
        self._frozen = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Freeze or unfreeze the backbone."""
        # Not in on_train_epoch_start, which isn't called when a run resumes within an epoch.
        frozen, backbone = trainer.current_epoch < self._epochs, getattr(pl_module.generator, "backbone", None)
        if frozen != self._frozen and isinstance(backbone, nn.Module):
            backbone.requires_grad_(not frozen)
            self._frozen = frozen
        if frozen and isinstance(backbone, nn.Module):
            backbone.eval()  # after a validation Lightning sets every module to training mode
