"""Pictures to look at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.datasets.samples import Sample
from deblurlab.media.images import write_png
from deblurlab.metrics.levels import levels
from deblurlab.training import Restoration


class Samples(pl.Callback):
    """Writes images side by side, of `count` of a set: after each validation what the module makes to look at
    (`blurred | restored | sharp`, more of a cycle) to `folder/val_<image>_<step>.png` and to every logger that takes
    pictures, after a test `blurred | restored | sharp` to `folder/test_<image>.png`.
    """

    def __init__(self, *, folder: str, count: int = 4) -> None:
        self._folder = Path(folder)
        self._count = count

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if dataloader_idx == 0 and self._chosen(batch_idx, trainer.num_val_batches[0]):
            assert isinstance(pl_module, Restoration)
            picture, name = _strip(pl_module.views(batch, outputs)), _file_name(batch)
            self._write(f"val_{name}_{trainer.global_step:07d}.png", picture)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(f"val/{name}", [picture], step=trainer.global_step)
                elif add_image := getattr(getattr(logger, "experiment", None), "add_image", None):
                    add_image(f"val/{name}", picture, trainer.global_step, dataformats="HWC")

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if "sharp" in batch and self._chosen(batch_idx, trainer.num_test_batches[dataloader_idx]):
            strip = _strip([batch["blurred"][0] / 255, outputs[0], batch["sharp"][0] / 255])
            self._write(f"test_{_file_name(batch)}.png", strip)

    def _chosen(self, number: int, images: int | float) -> bool:
        return number in np.linspace(0, images - 1, self._count).astype(int)

    def _write(self, name: str, picture: np.ndarray) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_png(self._folder / name, picture)


def _file_name(batch: Sample) -> str:
    return batch["name"][0].replace("/", "-")


def _strip(images: list[Tensor]) -> np.ndarray:
    """`(3, H, W)` in [0, 1] each -> `(H, n * W, 3)` uint8."""
    row = torch.cat([levels(image).cpu() for image in images], dim=2)
    return row.to(torch.uint8).permute(1, 2, 0).numpy()
