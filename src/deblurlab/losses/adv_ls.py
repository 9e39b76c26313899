"""Least-squares GAN objective."""

from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, mean_over_heads


class AdvLS(AdversarialLoss):
    """Squared distance of logits from 1 (real) and 0 (restored) (LSGAN: Mao et al., ICCV 2017, equation 2).

        generator:     mean((D(restored) - 1)²)
        discriminator: ½ mean((D(sharp) - 1)² + D(restored)²)

    Means are over patches, then over heads. The labels are a=0 and b=c=1. As in CycleGAN's code the generator's loss
    has no factor ½.

    Example:
        >>> import torch
        >>> real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), x)], []) for x in (1.0, -1.0))
        >>> AdvLS().discriminator_loss(real, fake).item()
        0.5
        >>> AdvLS().generator_loss(None, fake).item()
        4.0
    """

    boundary = 0.5

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the mean squared distance of restored images' logits from 1."""
        return mean_over_heads((logits - 1).square().mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return half the mean squared distance of sharp images' logits from 1 and restored images' logits from 0."""
        heads = zip(real.logits, fake.logits, strict=True)
        return 0.5 * mean_over_heads((r - 1).square().mean() + f.square().mean() for r, f in heads)
