"""Adversarial loss of two functions."""

from collections.abc import Callable

from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, mean_over_heads
from deblurlab.losses.calls import Call


class AdversarialFunctions(AdversarialLoss):
    """Adversarial loss whose two objectives are functions of logits, `(B, 1, h, w)` of one head of the discriminator.

    The values are averaged over heads. A function with further needs, such as features or a gradient penalty, is a
    subclass of `AdversarialLoss` instead.

    Args:
        generator: Objective of the generator: a function of `fake`, the logits of restored images, or of `real` and
            `fake`, found by the names of its arguments; with `real` the discriminator also runs on sharp images.
        discriminator: Objective of the discriminator: a function of `real` and `fake`.
        n_critic: Discriminator updates per generator update, unless `module.n_critic` is set.
        boundary: Logit above which an image is classified as real, for the discriminator's accuracy; None for none.

    Raises:
        UserError: A function has an argument of another name.

    Example:
        >>> import torch
        >>> loss = AdversarialFunctions(
        ...     generator=lambda fake: -fake.mean(), discriminator=lambda real, fake: fake.mean() - real.mean()
        ... )
        >>> real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), x)], []) for x in (2.0, -1.0))
        >>> loss.generator_loss(None, fake).item(), loss.discriminator_loss(real, fake).item()
        (1.0, -3.0)
    """

    def __init__(
        self,
        *,
        generator: Callable[..., Tensor],
        discriminator: Callable[..., Tensor],
        n_critic: int = 1,
        boundary: float | None = None,
    ) -> None:
        super().__init__()
        self._generator = Call("the generator's function", generator, leading=["fake"], further=["real"])
        self._discriminator = Call("the discriminator's function", discriminator, leading=["real", "fake"], further=[])
        self.generator_needs_real = "real" in self._generator.names
        self.n_critic, self.boundary = n_critic, boundary

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the generator's objective, averaged over heads."""
        others = fake.logits if real is None else real.logits  # unused without `real`
        return mean_over_heads(
            self._generator({"real": r, "fake": f}) for r, f in zip(others, fake.logits, strict=True)
        )

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return the discriminator's objective, averaged over heads."""
        return mean_over_heads(
            self._discriminator({"real": r, "fake": f}) for r, f in zip(real.logits, fake.logits, strict=True)
        )
