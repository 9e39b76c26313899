"""Measurement of sets of images by metrics of other packages."""

from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.metrics import Measurement, Protocol, SetMeasurement


class Difference(torchmetrics.Metric):
    """Metric of sets: the number of sharp images and ten times that of the others; two numbers with `pair`."""

    higher_is_better = False
    total: Tensor

    def __init__(self, pair: bool = False) -> None:
        super().__init__()
        self.pair = pair
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, images: Tensor, real: bool) -> None:
        if images.shape[-1] > 8:
            raise ValueError("too large")
        self.total += len(images) if real else 10 * len(images)

    def compute(self) -> Any:
        return (self.total, self.total) if self.pair else self.total


def test_own_metrics_of_sets() -> None:
    def measured(pair: bool = False) -> SetMeasurement:
        node = {"_target_": f"{__name__}.Difference", "pair": pair}
        return SetMeasurement(Measurement({"x": node}, Protocol()).set_metrics)

    images = torch.rand(2, 3, 8, 8)
    sets = measured()
    for _ in range(2):  # the second time the blurred images are not measured
        sets.update(images, images, images[:1])
        assert sets.compute() == {"x": 21.0, "x_blurred": 21.0}
    with pytest.raises(UserError, match="metric.x can't measure these images: too large"):
        measured().update(torch.rand(2, 3, 8, 9), images, images)
    pairs = measured(pair=True)
    pairs.update(images, images, images)
    with pytest.raises(UserError, match=r"metric.x must return one number, not \(tensor\(22"):
        pairs.compute()
