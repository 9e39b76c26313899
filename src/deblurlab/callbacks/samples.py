"""Sample images for visual inspection."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from deblurlab.callbacks.protocols import HasViews
from deblurlab.datasets.samples import Sample
from deblurlab.media.images import write_png
from deblurlab.metrics.levels import levels


class Samples(pl.Callback):
    """Writer of sample images of a validation or test set, side by side.

    After each validation the views of the module (`blurred | restored | sharp`; more with a cycle) are written to
    `folder/val_<image>_<step>.png` and to every logger that accepts images. After a test `blurred | restored | sharp`
    is written to `folder/test_<image>.png`.

    Args:
        folder: Folder of the samples.
        count: Number of images of a set, evenly spaced.
    """

    def __init__(self, *, folder: str, count: int = 4) -> None:
        self._folder = Path(folder)
        self._count = count

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Write and log a validation sample."""
        if dataloader_idx == 0 and self._is_selected(batch_idx, trainer.num_val_batches[0]):
            image = _side_by_side(cast("HasViews", pl_module).views(batch, outputs))
            name = _file_name(batch)
            self._write(f"val_{name}_{trainer.global_step:07d}.png", image)
            for logger in trainer.loggers:
                if hasattr(logger, "log_image"):
                    logger.log_image(f"val/{name}", [image], step=trainer.global_step)
                elif add_image := getattr(getattr(logger, "experiment", None), "add_image", None):
                    add_image(f"val/{name}", image, trainer.global_step, dataformats="HWC")

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Write a test sample."""
        if "sharp" in batch and self._is_selected(batch_idx, trainer.num_test_batches[dataloader_idx]):
            image = _side_by_side([batch["blurred"][0] / 255, outputs[0], batch["sharp"][0] / 255])
            self._write(f"test_{_file_name(batch)}.png", image)

    def _is_selected(self, number: int, images: int | float) -> bool:
        return number in np.linspace(0, images - 1, self._count).astype(int)

    def _write(self, name: str, image: np.ndarray) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_png(self._folder / name, image)


def _file_name(batch: Sample) -> str:
    return batch["name"][0].replace("/", "-")


def _side_by_side(images: list[Tensor]) -> np.ndarray:
    """Concatenate images, `(3, H, W)` in [0, 1] each, into `(H, n * W, 3)` uint8."""
    row = torch.cat([levels(image).cpu() for image in images], dim=2)
    return row.to(torch.uint8).permute(1, 2, 0).numpy()
