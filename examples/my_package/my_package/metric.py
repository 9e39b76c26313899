"""Metric of one's own."""

from torch import Tensor

from deblurlab.metrics import ImageMetric


class MAE(ImageMetric):
    """Mean absolute error in levels; `ImageMetric` is a torchmetrics `Metric`."""

    title, unit, digits, higher_is_better = "MAE", "levels", 2, False

    def update(self, restored: Tensor, sharp: Tensor) -> None:
        """Add images `(B, 3, H, W)` in [0, 1]."""
        self.add(255 * (restored - sharp).abs().mean(dim=(1, 2, 3)))
