"""Measurement of images by any metrics of torchmetrics, under a protocol."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from inspect import Parameter, signature
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torchmetrics import Metric

from deblurlab.config import instantiate
from deblurlab.errors import UserError
from deblurlab.metrics.info import DISPLAY_KEYS, MetricInfo
from deblurlab.metrics.protocol import Protocol


class Measurement:
    """Metrics of restored images under a protocol.

    What a metric is given follows from the parameters of its `update`:

    - two images, restored and reference: it is computed for each image, with several references the best value counts;
    - one image: it needs no reference;
    - `mask`, in addition: it can leave out pixels, which `protocol.align` needs;
    - `real`: it compares the set of restored images with the set of sharp ones, see `SetMeasurement`.

    Images are `(1, 3, H, W)` in [0, 1], float32 unless the metric's `image_dtype` is another.

    Args:
        metrics: Config node of each metric by name.
        protocol: What happens to the images before.

    Raises:
        UserError: A node is invalid, or a metric doesn't support alignment.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]], protocol: Protocol) -> None:
        if not metrics:
            raise UserError("no metric is chosen: metric=psnr+ssim")
        self.protocol = protocol
        self.info = {name: MetricInfo.of(name, node) for name, node in metrics.items()}
        """Properties of each metric, the unavailable ones included."""
        self.unavailable: dict[str, str] = {}
        """Metrics whose pretrained weights are unavailable, and a message that says where to store them."""
        self._metrics: dict[str, Metric] = {}
        for name, node in metrics.items():
            try:
                metric = instantiate({key: value for key, value in node.items() if key not in DISPLAY_KEYS})
            except UserError as error:
                self.unavailable[name] = str(error)
                continue
            if not isinstance(metric, Metric):
                raise UserError(f"metric.{name} is a {type(metric).__name__}, not a torchmetrics.Metric")
            metric.sync_on_compute = False  # each process measures its own images
            self._metrics[name] = metric
        unmasked = [name for name, metric in self._metrics.items() if "mask" not in _parameters(metric)]
        if protocol.align and unmasked:
            raise UserError(
                f"protocol.align=true masks parts of the image, which {unmasked[0]} doesn't support: leave it out of "
                f"metric={'+'.join(metrics)}"
            )

    @classmethod
    def of(cls, cfg: DictConfig) -> "Measurement":
        """Return the measurement of a config with the nodes `metric` and `protocol`."""
        nodes: Any = OmegaConf.to_container(cfg.get("metric") or OmegaConf.create(), resolve=True)
        return cls(nodes, instantiate(cfg.protocol))

    @property
    def names(self) -> list[str]:
        """Names of the available metrics of single images."""
        return [name for name, metric in self._metrics.items() if not _compares_sets(metric)]

    @property
    def no_reference(self) -> list[str]:
        """Names of the available metrics that need no reference."""
        return [name for name in self.names if len(_required(self._metrics[name])) == 1]

    @property
    def set_metrics(self) -> dict[str, Metric]:
        """Available metrics of sets of images by name."""
        return {name: metric for name, metric in self._metrics.items() if _compares_sets(metric)}

    def without_references(self) -> "Measurement":
        """Return the measurement of images that have no reference."""
        restricted = copy.copy(self)
        kept = {*self.no_reference, *self.set_metrics}
        restricted._metrics = {name: metric for name, metric in self._metrics.items() if name in kept}
        restricted.info = {name: info for name, info in self.info.items() if name in kept}
        return restricted

    def describe(self) -> dict[str, Any]:
        """Return what `results.json` holds: the protocol in words, the metrics' properties, the unavailable metrics."""
        words = self.protocol.describe() | {name: info.description for name, info in self.info.items()}
        info = {name: asdict(info) for name, info in self.info.items()}
        return {"protocol": words, "metrics": info, "unavailable": self.unavailable}

    def measure(self, restored: Tensor, references: Sequence[Tensor]) -> dict[str, float]:
        """Return the metrics of a restored image by name; without references, those that need none.

        Args:
            restored: `(3, H, W)` in [0, 1]; values outside are clamped.
            references: Sharp images of the same shape and range.

        Raises:
            ValueError: Shapes differ, the restored image has NaN or infinite values, or a metric can't be computed.
        """
        names = self.names if references else self.no_reference
        best: dict[str, float] = {}
        for reference in references or [restored]:
            x, y, mask = self.protocol.apply(restored, reference)
            for name in names:
                value = self._value(name, x, y, mask)
                choose = max if self.info[name].higher_is_better else min
                best[name] = choose(best.get(name, value), value)
        return best

    def _value(self, name: str, restored: Tensor, sharp: Tensor, mask: Tensor | None) -> float:
        metric = self._metrics[name].to(restored.device)
        dtype = getattr(metric, "image_dtype", torch.float32)
        images = [image.to(dtype) for image in (restored, sharp)[: len(_required(metric))]]
        metric.reset()
        metric.update(*images, **({} if mask is None else {"mask": mask}))
        result = metric.compute()
        if not isinstance(result, Tensor) or result.numel() != 1:
            raise UserError(f"metric.{name} must return one number for an image, not {result!s:.60}")
        value = float(result)
        if value != value:
            raise ValueError(f"{name} is not a number")
        return value


class SetMeasurement:
    """Metrics that compare the set of restored images with the set of sharp ones, paired or not.

    A metric's `update(images, real)` is given the images of both sets; its `reset` may keep the sharp ones, with
    `reset_real_features = False`. The blurred images are measured once.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._restored = {name: _synchronised(metric) for name, metric in metrics.items()}
        self._blurred = {name: _synchronised(metric) for name, metric in metrics.items()}
        self._values: dict[str, float] = {}
        """Values of the blurred images, once they are known."""
        self._first = True

    def update(self, restored: Tensor, blurred: Tensor, sharp: Tensor) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1] each; the sharp ones may have another size."""
        for metric in self._restored.values():
            metric.to(restored.device).update(restored.clamp(0, 1), real=False)
            if self._first or getattr(metric, "reset_real_features", True):
                metric.update(sharp.to(restored.device), real=True)
        for metric in self._blurred.values() if self._first else ():
            metric.to(restored.device).update(blurred.to(restored.device), real=False)
            metric.update(sharp.to(restored.device), real=True)

    def compute(self) -> dict[str, float]:
        """Return the value of each metric, and `<name>_blurred` of the blurred images; start the next set."""
        if self._first:
            self._values = {f"{name}_blurred": float(metric.compute()) for name, metric in self._blurred.items()}
            self._blurred, self._first = {}, False
        values = {name: float(metric.compute()) for name, metric in self._restored.items()}
        for metric in self._restored.values():
            metric.reset()
        return {**values, **self._values}


def _synchronised(metric: Metric) -> Metric:
    """Return a copy that `compute` merges over all processes."""
    merged = metric.clone()
    merged.sync_on_compute = True
    return merged


def _parameters(metric: Metric) -> dict[str, Parameter]:
    """Return the parameters of a metric's `update`."""
    return {name: p for name, p in signature(type(metric).update).parameters.items() if name != "self"}


def _required(metric: Metric) -> list[str]:
    """Return the required parameters of a metric's `update`: the images that it needs."""
    return [name for name, p in _parameters(metric).items() if p.default is Parameter.empty]


def _compares_sets(metric: Metric) -> bool:
    return "real" in _parameters(metric)
