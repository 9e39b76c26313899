"""ImageMetrics of whole images."""

import logging
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric

from deblurlab.datasets import PairSet, Unreferenced
from deblurlab.datasets.samples import Sample
from deblurlab.errors import UserError
from deblurlab.metrics import NO_REFERENCE, SMALLEST, Protocol

_LOG = logging.getLogger(__name__)


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


class ImageMetrics(pl.Callback):
    """Measures restored images on validation and test sets, and beside them, once, the blurred ones.

    Logs `val/psnr`, `val/psnr_blurred` and so on for each metric of the protocol, likewise `test/...`; of several test
    sets the second is `test/1/...`. Images without a sharp twin are measured by what needs none. `scores` keeps
    what the last test measured of each image.

    Raises:
        UserError: On measuring: an image is too small or has come out as NaN.
    """

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self._metrics: dict[str, PerImage] = {}
        self._blurred: dict[str, Tensor] = {}
        self.scores: list[dict[str, list[float]]] = []
        """For each test set: metric name -> value of each image, in the data set's order."""

    def check_data(self, data: PairSet) -> None:
        """Measure what can be measured on a data set.

        Raises:
            UserError: Some images have no sharp twins, and every metric needs one.
        """
        sets = [data.val(), *data.tests().values()]
        unreferenced = [isinstance(pair, Unreferenced) for pairs in sets for pair in pairs[:1]]
        alone = tuple(name for name in self.protocol.metrics if name in NO_REFERENCE)
        if any(unreferenced) and not alone:
            raise UserError(
                f"data names no pairs to validate on, and protocol.metrics={list(self.protocol.metrics)} need some: "
                f"name data.val_blurred and data.val_sharp, or take protocol.metrics=[sharpness]"
            )
        if unreferenced and all(unreferenced):
            self.protocol = replace(self.protocol, metrics=alone)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name, why in self.protocol.unavailable.items():
            _LOG.warning("%s isn't measured: %s.", name, why)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if not trainer.sanity_checking:
            self._update(set_name("val", dataloader_idx), outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._update(set_name("test", dataloader_idx), outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        values = self._finish(pl_module)
        pl_module.log("step", float(pl_module.global_step))  # Lightning's count is another after a resumption
        sets = [set_name("test", i) for i in range(len(trainer.num_test_batches))]
        self.scores = [{_metric(key): v.tolist() for key, v in values.items() if _set(key) == name} for name in sets]

    def _update(self, name: str, restored: Tensor, batch: Sample) -> None:
        known = {key for key in self._blurred if _set(key) == name}
        for i, index in enumerate(torch.as_tensor(batch["index"]).tolist()):
            # Of several sharp images that the restored one may be like, the best score counts.
            references = []
            if "sharp" in batch:
                references = [batch["sharp"][i], *batch.get("extra_references", batch["sharp"][:, :0])[i]]
            scores = self._measured(restored[i], references, batch["name"][i])
            if not known:
                blurred = self._measured(batch["blurred"][i] / 255, references, batch["name"][i])
                scores |= {f"{metric}_blurred": value for metric, value in blurred.items()}
            for metric, value in scores.items():
                collected = self._metrics.setdefault(f"{name}/{metric}", PerImage().to(restored.device))
                collected.update(torch.tensor([index]), torch.tensor([value], dtype=torch.float64))

    def _measured(self, image: Tensor, sharp: list[Tensor], name: str) -> dict[str, float]:
        if (side := min(image.shape[-2:])) < SMALLEST:
            raise UserError(f"{name} has a side of {side} pixels, and SSIM's window {SMALLEST}: leave such images out")
        try:
            scores = self.protocol.measure(image, [reference / 255 for reference in sharp])
        except ValueError as error:
            raise UserError(f"{name} can't be measured: {error}") from error
        return scores

    def _finish(self, module: pl.LightningModule) -> dict[str, Tensor]:
        """Every value of every image; logs their means."""
        # torchmetrics makes a number of a single value.
        values = {key: metric.compute().reshape(-1) for key, metric in self._metrics.items()}
        self._blurred |= {key: value for key, value in values.items() if key.endswith("_blurred")}
        sets = {_set(key) for key in values}
        values |= {key: value for key, value in self._blurred.items() if _set(key) in sets}
        for key, value in values.items():
            module.log(key, value.mean().float(), prog_bar=key == "val/psnr")
        self._metrics = {}
        return values


def _set(key: str) -> str:
    return key.rpartition("/")[0]


def _metric(key: str) -> str:
    return key.rpartition("/")[2]


def set_name(split: str, number: int) -> str:
    """What the metrics of one of several sets are logged below."""
    return split if number == 0 else f"{split}/{number}"
