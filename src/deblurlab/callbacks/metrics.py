"""PSNR and SSIM of whole images."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric

from deblurlab.data.dataset import Sample
from deblurlab.errors import UserError
from deblurlab.metrics import SMALLEST, psnr, ssim

METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"psnr": psnr, "ssim": ssim}


class PerImage(Metric):
    """Collects one number per image. `compute` gives them in the order of the images, each image once, from all
    processes; their mean is the mean over images that papers print, whatever the batches were."""

    index: list[Tensor]
    value: list[Tensor]
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("index", [], dist_reduce_fx="cat")
        self.add_state("value", [], dist_reduce_fx="cat")

    def update(self, index: Tensor, value: Tensor) -> None:
        self.index.append(index.to(self.device))
        self.value.append(value.to(self.device, torch.float32 if self.device.type == "mps" else torch.float64))

    def compute(self) -> Tensor:
        index, value = (torch.cat(s) if isinstance(s, list) else s for s in (self.index, self.value))
        # Processes that ran out of images repeat some.
        order = index.argsort(stable=True)
        index, value = index[order], value[order]
        return value[torch.cat([index.new_ones(1, dtype=torch.bool), index[1:] != index[:-1]])]


class Quality(pl.Callback):
    """Measures restored images on validation and test sets, and beside them, once, the blurred ones.

    Logs `val/psnr`, `val/ssim`, `val/psnr_blurred`, `val/ssim_blurred`, likewise `test/...`; of several test sets
    the second is `test/1/...`. `scores` keeps what the last test measured of each image.
    """

    def __init__(self) -> None:
        self._metrics: dict[str, PerImage] = {}
        self._blurred: dict[str, Tensor] = {}
        self.scores: list[dict[str, list[float]]] = []
        """For each test set: metric name -> value of each image, in the data set's order."""

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if not trainer.sanity_checking:
            self._update(_prefix("val", dataloader_idx), outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._update(_prefix("test", dataloader_idx), outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = self._finish(pl_module)
        sets = range(len(trainer.num_test_batches))
        keys = [name + suffix for name in METRICS for suffix in ("", "_blurred")]
        self.scores = [{key: values[f"{_prefix('test', i)}/{key}"].tolist() for key in keys} for i in sets]

    def _update(self, prefix: str, restored: Tensor, batch: Sample) -> None:
        blurred, index = batch["blurred"] / 255, torch.as_tensor(batch["index"])
        # Of several sharp images that the restored one may be like, the best score counts.
        sharp = [batch["sharp"] / 255, *(others / 255 for others in batch.get("others", torch.empty(1, 0)).unbind(1))]
        if (side := min(blurred.shape[-2:])) < SMALLEST:
            raise UserError(
                f"{batch['name'][0]} has a side of {side} pixels, and SSIM's window {SMALLEST}: leave such images out"
            )
        for name, metric in METRICS.items():
            self._collect(f"{prefix}/{name}", restored.device).update(index, _best(metric, restored, sharp))
            key = f"{prefix}/{name}_blurred"
            if key not in self._blurred:
                self._collect(key, restored.device).update(index, _best(metric, blurred, sharp))

    def _collect(self, key: str, device: torch.device) -> PerImage:
        if key not in self._metrics:
            self._metrics[key] = PerImage().to(device)
        return self._metrics[key]

    def _finish(self, module: pl.LightningModule) -> dict[str, Tensor]:
        """Every value of every image; logs their means."""
        # torchmetrics makes a number of a single value.
        values = {key: metric.compute().reshape(-1) for key, metric in self._metrics.items()}
        self._blurred |= {key: value for key, value in values.items() if key.endswith("_blurred")}
        prefixes = {key.rpartition("/")[0] + "/" for key in values}
        values |= {k: v for k, v in self._blurred.items() if k.rpartition("/")[0] + "/" in prefixes}
        for key, value in values.items():
            module.log(key, value.mean().float(), prog_bar=key == "val/psnr")
        self._metrics = {}
        return values


def _best(metric: Callable[[Tensor, Tensor], Tensor], image: Tensor, sharp: list[Tensor]) -> Tensor:
    return torch.stack([metric(image, reference) for reference in sharp]).amax(dim=0)


def _prefix(split: str, number: int) -> str:
    return split if number == 0 else f"{split}/{number}"
