"""Measurement of images by any metrics of torchmetrics, under a protocol."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from deblurlab.config import find_target, instantiate, to_plain
from deblurlab.errors import UserError
from deblurlab.metrics.base import ImageMetric
from deblurlab.metrics.contract import Inputs, one_number
from deblurlab.metrics.info import DISPLAY_KEYS, MetricInfo
from deblurlab.metrics.protocol import Protocol

RESERVED_NAMES = frozenset(
    {
        *("set", "image", "images", "failed", "untouched", "error", "standard_error", "seconds", "megapixels", "psf"),
        *("blur_length", "rotation", "objects", "defocus", "read_noise", "shot_noise", "jpeg_quality"),
    }
)
"""Names that results.json and per_image.csv use for something else than a metric."""


class Measurement:
    """Metrics of restored images under a protocol.

    What a metric is given follows from the parameters of its `update`:

    - two images, restored and reference: it is computed for each image, with several references the best value counts;
    - one image: it needs no reference;
    - `mask`, in addition: it can leave out pixels, which `protocol.align` needs;
    - `real`: it compares the set of restored images with the set of sharp ones, see `SetMeasurement`.

    Images are `(1, 3, H, W)` in [0, 1], float32 unless the metric's `image_dtype` is another.

    Args:
        metrics: Config node of each metric by name. Nodes without `_target_` aren't chosen and have no effect.
        protocol: What happens to the images before.

    Raises:
        UserError: A node is invalid, or a metric doesn't support alignment.

    Example:
        >>> nodes = {"theirs": {"_target_": "torchmetrics.image.PeakSignalNoiseRatio", "data_range": 1.0}}
        >>> values = Measurement(nodes, Protocol()).measure(torch.zeros(3, 4, 4), [torch.full((3, 4, 4), 51 / 255)])
        >>> {name: round(value, 4) for name, value in values.items()}  # 20 log₁₀(255 / 51)
        {'theirs': 13.9794}
    """

    def __init__(self, metrics: Mapping[str, Any], protocol: Protocol) -> None:
        nodes = _chosen(metrics)
        self.protocol = protocol
        self.info = {name: MetricInfo.of(name, node) for name, node in nodes.items()}
        """Properties of each metric, the unavailable ones included."""
        self.unavailable: dict[str, str] = {}
        """Metrics whose pretrained weights are unavailable, and a message that says where to store them."""
        self._metrics: dict[str, Metric] = {}
        self._inputs: dict[str, Inputs] = {}
        for name, node in nodes.items():
            try:
                metric = instantiate({key: value for key, value in node.items() if key not in DISPLAY_KEYS})
            except UserError as error:
                self.unavailable[name] = str(error)
                self._inputs[name] = Inputs(find_target(node))
                continue
            if not isinstance(metric, Metric):
                raise UserError(f"metric.{name} is a {type(metric).__name__}, not a torchmetrics.Metric")
            self._inputs[name] = inputs = Inputs(type(metric))
            inputs.check(name)
            if not inputs.sets:
                _keep_local(metric)
            self._metrics[name] = metric.eval().requires_grad_(False)  # networks in evaluation mode
        unmasked = [name for name in self._metrics if not self._inputs[name].mask]
        if protocol.align and unmasked:
            raise UserError(
                f"protocol.align=true masks parts of the image, which {unmasked[0]} doesn't support: leave it out of "
                f"metric={'+'.join(nodes)}"
            )

    @classmethod
    def of(cls, cfg: Any) -> "Measurement":
        """Return the measurement of a config with the nodes `metric` and `protocol`."""
        return cls(to_plain(cfg.get("metric") or {}), instantiate(cfg.protocol))

    @property
    def names(self) -> list[str]:
        """Names of the available metrics of single images."""
        return [name for name in self._metrics if not self._inputs[name].sets]

    @property
    def no_reference(self) -> list[str]:
        """Names of the available metrics that need no reference."""
        return [name for name in self.names if self._inputs[name].images == 1]

    @property
    def set_metrics(self) -> dict[str, Metric]:
        """Available metrics of sets of images by name."""
        return {name: metric for name, metric in self._metrics.items() if self._inputs[name].sets}

    def without_references(self) -> "Measurement":
        """Return the measurement of images that have no reference."""
        restricted = copy.copy(self)
        kept = [name for name, inputs in self._inputs.items() if inputs.sets or inputs.images == 1]
        restricted._metrics = {name: metric for name, metric in self._metrics.items() if name in kept}
        restricted.info = {name: info for name, info in self.info.items() if name in kept}
        restricted.unavailable = {name: why for name, why in self.unavailable.items() if name in kept}
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
            UserError: A metric doesn't return one number for an image.
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
        images = [image.to(dtype) for image in (restored, sharp)[: self._inputs[name].images]]
        try:
            metric.update(*images, **({} if mask is None else {"mask": mask}))
            if isinstance(metric, ImageMetric) and metric.count != 1:
                raise UserError(f"metric.{name} adds {int(metric.count)} values for one image instead of one")
            value = one_number(name, metric.compute())
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # an image that is too small for the metric, or anything that a user's class raises
            kind = "" if isinstance(error, (ValueError, RuntimeError)) else f"{type(error).__name__}: "
            raise ValueError(f"{name}: {kind}{error}") from error
        finally:
            for part in _with_parts(metric):
                part.reset()
        if value != value:
            raise ValueError(f"metric.{name} is not a number for this image")
        return value


def _chosen(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the nodes of the chosen metrics; the others are settings of an experiment."""
    nodes: dict[str, Mapping[str, Any]] = {}
    for name, node in metrics.items():
        if not isinstance(node, Mapping):
            raise UserError(f"metric.{name}={node} isn't a metric: metric={name} chooses one")
        if "_target_" in node:
            nodes[str(name)] = node
    for name in nodes:
        if not re.fullmatch(r"[A-Za-z]\w*", name) or name.endswith("_blurred") or name in RESERVED_NAMES:
            raise UserError(f"metric.{name}: {name} can't be the name of a metric, choose another key in its YAML file")
    if not nodes:
        raise UserError("no metric is chosen: metric=psnr+ssim")
    return nodes


def _keep_local(metric: Metric) -> None:
    """Compute a metric from the images of this process alone: each process measures its own, one after the other."""
    for part in _with_parts(metric):
        part.distributed_available_fn = _is_distributed  # `sync_on_compute` is only read in the constructor


def _with_parts(metric: Metric) -> list[Metric]:
    """Return a metric and those that it contains."""
    return [module for module in metric.modules() if isinstance(module, Metric)]


def _is_distributed() -> bool:
    return False
