"""What a loss term declares about itself.

Any `nn.Module` with `forward(restored, sharp)` that gives a scalar is a loss term, whether it comes from here, from
torch or from the user: what isn't declared has the default below. A term doesn't know its weight.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput

Compares = Literal["pair", "set", "cycle", "identity"]


class LossTerm(nn.Module):
    """A summand of the generator's loss that compares `restored` with `sharp`, both `(B, 3, H, W)` in [0, 1]."""

    compares: ClassVar[Compares] = "pair"
    """What with what. "pair": a restored image with its sharp twin. "set": restored images with sharp ones that may be
    any. "cycle": an image with what comes back of it when it is restored and blurred again, or the other way round.
    "identity": a sharp image with what restoring makes of it, a blurred one with what blurring does."""
    scales: ClassVar[Literal["all", "finest"]] = "finest"
    """Where it applies when a model restores at several scales."""
    min_size: int = 1
    """Of the images, in pixels."""

    def choices(self) -> dict[str, str]:
        """Arguments that were left open in the config and decided when the term was built; the run records them."""
        return {}


class DiscriminatorLoss(LossTerm, ABC):
    """A summand made from the discriminator's judgement of sharp (`real`) and restored (`fake`) images."""

    generator_needs_real: ClassVar[bool] = False
    """Whether `generator_loss` looks at `real`, which costs a pass of the discriminator."""

    @abstractmethod
    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """What the generator minimises; `real` carries no gradient and is None unless declared above."""


class AdversarialLoss(DiscriminatorLoss):
    """A judged term that also trains the discriminator."""

    compares: ClassVar[Compares] = "set"
    n_critic: ClassVar[int] = 1
    """Updates of the discriminator per batch with which it was published."""
    boundary: ClassVar[float | None] = None
    """The logit above which an image is judged real, if there is one."""

    @abstractmethod
    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """What the discriminator minimises, on sharp and on restored images that carry no gradient."""

    def penalty(self, discriminator: Discriminator, sharp: Tensor, restored: Tensor, blurred: Tensor) -> Tensor | None:
        """What the discriminator minimises beside that, if anything; it may look at the discriminator's gradients."""
        return None


def exact(images: Tensor) -> Tensor:
    """As float32 if they are less."""
    return images.float() if images.dtype in (torch.bfloat16, torch.float16) else images


def per_head(values: Iterable[Tensor]) -> Tensor:
    """The mean over a discriminator's heads."""
    return torch.stack(list(values)).mean()


def squared_gradient_norm(discriminator: Discriminator, images: Tensor, blurred: Tensor) -> Tensor:
    """The squared norm of the gradient of each sample's mean logit by the whole sample, `(B,)`; it can be learnt
    from."""
    # A compiled network has no second derivative.
    with (
        torch.enable_grad(),
        torch.autocast(images.device.type, enabled=False),
        torch.compiler.set_stance("force_eager"),
    ):
        images = images.detach().requires_grad_()
        logits = discriminator(images, blurred).logits
        mean = torch.stack([values.mean(dim=(1, 2, 3)) for values in logits]).mean(dim=0)
        (gradient,) = torch.autograd.grad(mean.sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1)
