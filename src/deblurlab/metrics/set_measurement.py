"""Measurement of sets of images."""

from collections.abc import Mapping

from torch import Tensor
from torchmetrics import Metric

from deblurlab.errors import UserError
from deblurlab.metrics.contract import one_number


class SetMeasurement:
    """Metrics that compare the set of restored images with the set of sharp ones, paired or not, of all processes.

    A metric's `update(images, real)` is given the images of both sets; its `reset` may keep the sharp ones, with
    `reset_real_features = False`. The blurred images are measured once.

    Example:
        >>> import torch
        >>> from deblurlab.metrics import KID
        >>> measurement = SetMeasurement({"kid": KID(weights="random", patch=32)})
        >>> sharp = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> measurement.update(restored=sharp / 2, blurred=sharp / 4, sharp=sharp)
        >>> list(measurement.compute())
        ['kid', 'kid_blurred']
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._restored = {name: metric.clone() for name, metric in metrics.items()}
        self._blurred = {name: metric.clone() for name, metric in metrics.items()}
        self._values: dict[str, float] = {}
        """Values of the blurred images, once they are known."""
        self._first = True

    def update(self, restored: Tensor, blurred: Tensor, sharp: Tensor) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1] each; the sharp ones may have another size.

        Raises:
            UserError: A metric rejects the images.
        """
        sharp = sharp.to(restored.device)
        for name, metric in self._restored.items():
            real = sharp if self._first or getattr(metric, "reset_real_features", True) else None
            _add(name, metric, restored.clamp(0, 1), real)
        for name, metric in self._blurred.items() if self._first else ():
            _add(name, metric, blurred.to(restored.device), sharp)

    def compute(self) -> dict[str, float]:
        """Return the value of each metric, and `<name>_blurred` of the blurred images; start the next set.

        Raises:
            UserError: A metric doesn't return one number.
        """
        if self._first:
            self._values = {f"{name}_blurred": one_number(name, m.compute()) for name, m in self._blurred.items()}
            self._blurred, self._first = {}, False
        values = {name: one_number(name, metric.compute()) for name, metric in self._restored.items()}
        for metric in self._restored.values():
            metric.reset()
        return {**values, **self._values}


def _add(name: str, metric: Metric, images: Tensor, real: Tensor | None) -> None:
    """Add images and, unless it is None, the sharp set."""
    try:
        metric.to(images.device).update(images, real=False)
        if real is not None:
            metric.update(real, real=True)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"metric.{name} can't measure these images: {error}") from error
