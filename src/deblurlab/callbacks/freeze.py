"""Parts of the generator that learn later."""

import pytorch_lightning as pl
from torch import nn


class FreezeBackbone(pl.Callback):
    """Keeps the generator's `backbone`, if it has one, as it is for the first `epochs` epochs, so that what was learnt
    elsewhere isn't lost to the noise of a new network around it (DeblurGAN-v2: 3)."""

    def __init__(self, *, epochs: int) -> None:
        self._epochs = epochs

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        backbone = getattr(pl_module.generator, "backbone", None)
        if isinstance(backbone, nn.Module):
            backbone.requires_grad_(trainer.current_epoch >= self._epochs)
