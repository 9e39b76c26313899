"""Measurement of whole images in validation and test."""

import logging
import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric

from deblurlab.datasets import ImageSet
from deblurlab.datasets.samples import Sample
from deblurlab.errors import UserError
from deblurlab.metrics import Measurement, SetMeasurement

_LOG = logging.getLogger(__name__)


class PerImage(Metric):
    """Collector of one value per image.

    `compute` returns the values of all processes in the order of the images, each image once. Their mean is the mean
    over images that publications report; it does not depend on the batch size.
    """

    index: list[Tensor]
    value: list[Tensor]
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("index", [], dist_reduce_fx="cat")
        self.add_state("value", [], dist_reduce_fx="cat")

    def update(self, index: Tensor, value: Tensor) -> None:
        """Add the values of images, `(N,)`, and the indices of the images, `(N,)`."""
        self.index.append(index.to(self.device))
        self.value.append(value.to(self.device, torch.float32 if self.device.type == "mps" else torch.float64))

    def compute(self) -> Tensor:
        """Return the value of each image, ordered by index."""
        index, value = (torch.cat(s) if isinstance(s, list) else s for s in (self.index, self.value))
        # Remove duplicates: processes that run out of images repeat some.
        order = index.argsort(stable=True)
        index, value = index[order], value[order]
        return value[torch.cat([index.new_ones(1, dtype=torch.bool), index[1:] != index[:-1]])]


class ImageMetrics(pl.Callback):
    """Metrics of restored images on validation and test sets, and, computed once, of the blurred images.

    Logs `val/psnr`, `val/psnr_blurred` and so on for each metric, likewise `test/...`; the metrics of the second test
    set are `test/1/...`. Images without a sharp reference are measured by no-reference metrics.

    Raises:
        UserError: During measurement: an image is too small or contains NaN, or a metric returns several numbers.
    """

    def __init__(self, measurement: Measurement) -> None:
        self.measurement = measurement
        self._metrics: dict[str, PerImage] = {}
        self._blurred: dict[str, Tensor] = {}
        self._sets: dict[str, SetMeasurement] = {}
        self._updated: set[str] = set()
        """Sets with images since the last results."""
        self.scores: list[dict[str, list[float]]] = []
        """For each set of the last test: metric name -> value of each image, in the data set's order."""
        self.set_scores: list[dict[str, float]] = []
        """For each set of the last test: values of the metrics that compare sets of images."""

    def check_data(self, data: ImageSet) -> None:
        """Restrict the metrics to no-reference ones if no image has a sharp reference.

        Raises:
            UserError: Some images have no sharp reference, and every metric needs one.
        """
        sets = [data.items("val"), *data.tests().values()]
        unreferenced = [not items[0].references for items in sets if items]
        if any(unreferenced) and not self.measurement.no_reference:
            raise UserError(
                f"the validation or test images have no sharp references, which metric="
                f"{'+'.join(self.measurement.info)} needs: set data.val_blurred and data.val_sharp, or metric=sharpness"
            )
        if unreferenced and all(unreferenced):
            self.measurement = self.measurement.without_references()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn about metrics that are not available."""
        for name, why in self.measurement.unavailable.items():
            _LOG.warning("%s is not measured: %s.", name, why)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Measure a validation batch."""
        if not trainer.sanity_checking:
            self._update(set_name("val", dataloader_idx), outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Measure a test batch."""
        self._update(set_name("test", dataloader_idx), outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the means of the validation metrics."""
        self._finish(pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the means of the test metrics and keep the values of each image."""
        values, whole = self._finish(pl_module)
        pl_module.log("step", float(pl_module.global_step))  # Lightning's own step differs after a resume
        sets = [set_name("test", i) for i in range(len(trainer.num_test_batches))]
        self.scores = [{_metric(key): v.tolist() for key, v in values.items() if _set(key) == name} for name in sets]
        self.set_scores = [{_metric(key): v for key, v in whole.items() if _set(key) == name} for name in sets]

    def _update(self, name: str, restored: Tensor, batch: Sample) -> None:
        self._updated.add(name)
        blurred_measured = any(_set(key) == name for key in self._blurred)
        for i, index in enumerate(torch.as_tensor(batch["index"]).tolist()):
            # Of several references the one with the best value counts.
            references = []
            if "sharp" in batch:
                references = [batch["sharp"][i], *batch.get("extra_references", batch["sharp"][:, :0])[i]]
            values = self._measure(restored[i], references, batch["name"][i])
            if not blurred_measured:
                blurred = self._measure(batch["blurred"][i] / 255, references, batch["name"][i])
                values |= {f"{metric}_blurred": value for metric, value in blurred.items()}
            for metric, value in values.items():
                collected = self._metrics.setdefault(f"{name}/{metric}", PerImage().to(restored.device))
                collected.update(torch.tensor([index]), torch.tensor([value], dtype=torch.float64))
        if self.measurement.set_metrics:
            measured = self._sets.setdefault(name, SetMeasurement(self.measurement.set_metrics))
            sharp = batch["sharp"] if "sharp" in batch else batch["unpaired_sharp"]
            measured.update(restored, batch["blurred"] / 255, sharp / 255)

    def _measure(self, image: Tensor, references: list[Tensor], name: str) -> dict[str, float]:
        try:
            return self.measurement.measure(image, [reference / 255 for reference in references])
        except ValueError as error:
            raise UserError(
                f"{name} cannot be measured: {error}; leave out the image, or the metric from metric="
            ) from error

    def _finish(self, module: pl.LightningModule) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Log the mean of each metric; return the values of all images, and those of metrics of sets."""
        # torchmetrics squeezes a tensor with one element.
        values = {key: metric.compute().reshape(-1) for key, metric in self._metrics.items()}
        self._blurred |= {key: value for key, value in values.items() if key.endswith("_blurred")}
        values |= {key: value for key, value in self._blurred.items() if _set(key) in self._updated}
        whole = {
            f"{name}/{metric}": value
            for name in sorted(self._updated & self._sets.keys())
            for metric, value in self._sets[name].compute().items()
        }
        for i, (key, value) in enumerate(values.items()):
            module.log(key, value.mean().float(), prog_bar=i == 0)
        for key, number in whole.items():
            if math.isnan(number):
                _LOG.warning("%s is not measured: it is undefined for these images.", key)
            else:
                module.log(key, number)
        self._metrics, self._updated = {}, set()
        return values, {key: number for key, number in whole.items() if not math.isnan(number)}


def _set(key: str) -> str:
    return key.rpartition("/")[0]


def _metric(key: str) -> str:
    return key.rpartition("/")[2]


def set_name(split: str, number: int) -> str:
    """Return the prefix under which the metrics of a split's set are logged."""
    return split if number == 0 else f"{split}/{number}"
