"""What every discriminator promises."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class DiscriminatorOutput(NamedTuple):
    """What a discriminator says of a batch of images."""

    logits: list[Tensor]
    """One map `(B, 1, h, w)` per scale or head, not squashed: positive means real."""
    features: list[Tensor]
    """Its intermediate activations, from the shallowest to the deepest."""
    history: list[Tensor] | None = None
    """The mean logit of each head over past batches too, where the training keeps a history."""

    def means(self) -> list[Tensor]:
        """The mean logit of each head, over a history if there is one."""
        return [logits.mean() for logits in self.logits] if self.history is None else self.history


class Discriminator(nn.Module, ABC):
    """A network that judges images, `(B, 3, H, W)` RGB in [0, 1] (restored ones may leave it a little), with sides of
    at least `min_size`."""

    min_size: int = 1

    @abstractmethod
    def forward(self, image: Tensor, blurred: Tensor) -> DiscriminatorOutput:
        """Judge `image`; `blurred` is what it was or would be restored from, for discriminators that look at it too."""
