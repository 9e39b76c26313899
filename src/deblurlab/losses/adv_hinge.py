"""Hinge GAN objective."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, mean_over_heads


class AdvHinge(AdversarialLoss):
    """Hinge loss on logits (Lim and Ye, "Geometric GAN", arXiv 2017, equations 14 and 15).

        generator:     mean(-D(restored))
        discriminator: mean(max(0, 1 - D(sharp)) + max(0, 1 + D(restored)))

    Means are over patches, then over heads.

    Example:
        >>> import torch
        >>> real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), x)], []) for x in (0.5, -2.0))
        >>> AdvHinge().discriminator_loss(real, fake).item()
        0.5
        >>> AdvHinge().generator_loss(None, fake).item()
        2.0
    """

    boundary = 0.0

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the negative mean logit of restored images."""
        return mean_over_heads(-logits.mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return the hinge loss of sharp images with margin 1 and of restored images with margin -1."""
        heads = zip(real.logits, fake.logits, strict=True)
        return mean_over_heads(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in heads)
