"""Interface of discriminators."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class DiscriminatorOutput(NamedTuple):
    """Output of a discriminator for a batch of images."""

    logits: list[Tensor]
    """Logits, one map `(B, 1, h, w)` per scale or head; positive means real. No sigmoid is applied."""
    features: list[Tensor]
    """Intermediate activations `(B, C, h, w)`, from the shallowest layer to the deepest."""
    history: list[Tensor] | None = None
    """Mean logit of each head over past batches, a scalar tensor per head; None if no history is kept."""

    def means(self) -> list[Tensor]:
        """Return the mean logit of each head over past batches if a history is kept, else over this batch."""
        return [logits.mean() for logits in self.logits] if self.history is None else self.history


class Discriminator(nn.Module, ABC):
    """Network that classifies images as real or restored.

    Images are `(B, 3, H, W)` RGB in [0, 1]; values of restored images may be slightly outside.
    """

    min_size: int = 1
    """Minimum side of the images in pixels."""

    @abstractmethod
    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        """Return logits and features of `image`.

        Args:
            image: Real or restored images, `(B, 3, H, W)`.
            blurred: Blurred images of the same shape, the condition of conditional discriminators.
        """
