"""Base classes of loss terms.

Any module or function of (restored, sharp) that returns a scalar is a loss term, whether it comes from this package,
from torch or from the user. It gets `blurred` and other values if it has arguments of their names, see `losses.calls`.
Attributes that it doesn't define have the defaults of `LossTerm`. The weight of a term is part of the configuration,
not of the term.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from deblurlab.discriminators.base import DiscriminatorOutput

Compares = Literal["pair", "set", "cycle", "identity"]


class LossTerm(nn.Module):
    """Loss term of the generator: compares `restored` with `sharp`, both `(B, 3, H, W)` RGB in [0, 1].

    Example:
        >>> import torch
        >>> class MaxError(LossTerm):
        ...     def forward(self, restored, sharp):
        ...         return (restored - sharp).abs().max()
        >>> MaxError()(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)).item()
        1.0
        >>> MaxError.compares, MaxError.scales, MaxError.min_size
        ('pair', 'finest', 1)
    """

    compares: ClassVar[Compares] = "pair"
    """Which images the term compares.

    - "pair": a restored image with its sharp reference.
    - "set": restored images with sharp images that need not correspond.
    - "cycle": an image with its reconstruction by both generators.
    - "identity": a sharp image with the output of the restoring generator for it; a blurred image likewise with the
      output of the blurring generator.
    """
    scales: ClassVar[Literal["all", "finest"]] = "finest"
    """Scales to which the term applies if the model restores at several."""
    min_size: int = 1
    """Minimum side of the images in pixels."""

    def resolved_settings(self) -> dict[str, str]:
        """Return the arguments whose value was decided at construction ("auto"), for the run's configuration."""
        return {}


class DiscriminatorLoss(LossTerm, ABC):
    """Loss term of the generator, computed from the discriminator's output for `real` and `fake` images.

    `generator_loss` and `discriminator_loss` get `blurred` and other values if they have arguments of their names.
    """

    generator_needs_real: bool = False
    """Whether `generator_loss` uses `real`, which costs another forward pass of the discriminator."""

    @abstractmethod
    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the loss that the generator minimises.

        Args:
            real: Output for sharp images, without gradient; None if `generator_needs_real` is False.
            fake: Output for restored images.
        """


class AdversarialLoss(DiscriminatorLoss):
    """Discriminator loss that also trains the discriminator."""

    compares: ClassVar[Compares] = "set"
    n_critic: int = 1
    """Discriminator updates per generator update in the original publication."""
    boundary: float | None = None
    """Decision boundary: the logit above which an image is classified as real; None if the objective has none."""

    @abstractmethod
    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return the loss that the discriminator minimises, given its output for sharp and detached restored images."""

    def penalty(self, discriminator: nn.Module, sharp: Tensor, restored: Tensor, blurred: Tensor) -> Tensor | None:
        """Return a term that is added to the discriminator's loss, such as a gradient penalty; None if there is none.

        Args:
            discriminator: The network that is trained.
            sharp: `(B, 3, H, W)` in [0, 1].
            restored: `(B, 3, H, W)`, detached.
            blurred: `(B, 3, H, W)`, the condition of the sharp images, for conditional discriminators.
        """
        return None


def at_least_float32(images: Tensor) -> Tensor:
    """Return float16 and bfloat16 tensors as float32, others unchanged."""
    return images.float() if images.dtype in (torch.bfloat16, torch.float16) else images


def mean_over_heads(values: Iterable[Tensor]) -> Tensor:
    """Return the mean of one scalar per head of a discriminator."""
    return torch.stack(list(values)).mean()


def squared_gradient_norm(discriminator: nn.Module, images: Tensor, blurred: Tensor) -> Tensor:
    """Return the squared L2 norm of the gradient of each sample's mean logit with respect to the sample, `(B,)`.

    The logit of a sample is the mean over its patches, then over heads. The result is differentiable with respect to
    the discriminator's parameters.
    """
    # A compiled network has no second derivative.
    with (
        torch.enable_grad(),
        torch.autocast(images.device.type, enabled=False),
        torch.compiler.set_stance("force_eager"),
    ):
        images = images.detach().requires_grad_()
        logits = discriminator(images, blurred).logits
        mean = torch.stack([values.reshape(len(values), -1).mean(dim=1) for values in logits]).mean(dim=0)
        (gradient,) = torch.autograd.grad(mean.sum(), images, create_graph=True)
    return gradient.flatten(1).square().sum(dim=1)
