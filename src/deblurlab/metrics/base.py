"""Base class of image metrics."""

import torch
from torch import Tensor
from torchmetrics import Metric


class ImageMetric(Metric):
    """Mean over images of one value per image; a torchmetrics Metric.

    A subclass sets `higher_is_better` and the attributes below, and implements `update`, which calls `add` with the
    value of each image. The parameters of `update` say what the metric needs: `update(restored, sharp)`;
    `update(restored)`, if it needs no reference; and an optional `mask`, if it can leave pixels out, which alignment
    needs.

    Example:
        >>> class MAE(ImageMetric):
        ...     title, higher_is_better = "MAE", False
        ...     def update(self, restored, sharp):
        ...         self.add((restored - sharp).abs().mean(dim=(1, 2, 3)))
        >>> metric = MAE()
        >>> metric(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.25)).item()
        0.25
    """

    title: str
    """Name in tables and plots; the default is the name of the config node."""
    unit = ""
    """Unit of the values, such as "dB"."""
    digits = 4
    """Decimals in tables."""
    description = ""
    """What the metric computes, in a few words; the default is the first line of the docstring."""
    image_dtype: torch.dtype = torch.float32
    """Type of the images that the metric is given."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Add the value of each image, `(B,)`.

        Raises:
            ValueError: The values have another shape.
        """
        if values.ndim != 1:
            raise ValueError(f"add needs the value of each image, (B,), not {tuple(values.shape)}")
        self.total = self.total + values.double().sum().to(self.total.device)
        self.count = self.count + values.numel()

    def compute(self) -> Tensor:
        """Return the mean over images."""
        return self.total / self.count
