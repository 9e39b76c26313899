"""What a loss term declares about itself.

Any `nn.Module` with `forward(restored, sharp)` that gives a scalar is a loss term, whether it comes from here, from
torch or from the user: what isn't declared has the default below. A term doesn't know its weight.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn

from deblurlab.discriminators.base import Judgement


class LossTerm(nn.Module):
    """A summand of the generator's loss that compares `restored` with `sharp`, both `(B, 3, H, W)` in [0, 1]."""

    scales: ClassVar[Literal["all", "finest"]] = "finest"
    """Where it applies when a model restores at several scales."""

    def choices(self) -> dict[str, str]:
        """Arguments that were left open in the config and decided when the term was built; the run records them."""
        return {}


class JudgedTerm(LossTerm, ABC):
    """A summand made from the discriminator's judgement of sharp (`real`) and restored (`fake`) images."""

    generator_needs_real: ClassVar[bool] = False
    """Whether `generator_loss` looks at `real`, which costs a pass of the discriminator."""

    @abstractmethod
    def generator_loss(self, real: Judgement | None, fake: Judgement) -> Tensor:
        """What the generator minimises; `real` carries no gradient and is None unless declared above."""


class AdversarialTerm(JudgedTerm):
    """A judged term that also trains the discriminator."""

    @abstractmethod
    def discriminator_loss(self, real: Judgement, fake: Judgement) -> Tensor:
        """What the discriminator minimises, on sharp and on restored images that carry no gradient."""
