"""Attributes of the trained module that callbacks read."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from torch import Tensor, nn


class TracksNonFinite(Protocol):
    """Module that records NaN and infinity."""

    nonfinite: dict[str, Tensor]
    """`loss/<name>` or `gradient/<name>` -> whether it was not finite in the latest step (bool, on the device)."""


class HasAccuracies(Protocol):
    """Module with discriminators whose accuracy is defined."""

    def accuracies(self) -> dict[str, Tensor]:
        """Return the accuracy of each discriminator on the latest batch, in [0, 1], by its name."""


class HasViews(Protocol):
    """Module that selects the images of a validation batch to display."""

    def views(self, batch: Any, restored: Tensor) -> list[Tensor]:
        """Return the images to display side by side, `(3, H, W)` in [0, 1] each."""


class HasLossTerms(Protocol):
    """Module that trains generators by a weighted sum of loss terms."""

    terms: nn.ModuleDict
    weights: Mapping[str, float]

    @property
    def generators(self) -> Iterable[nn.Module]:
        """Return the generators."""
