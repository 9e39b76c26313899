"""Original GAN objective."""

import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, mean_over_heads, squared_gradient_norm


class Adv(AdversarialLoss):
    """Binary cross-entropy on logits, non-saturating for the generator (Goodfellow et al., NeurIPS 2014, section 3).

        generator:     mean(-log sigmoid(D(restored)))
        discriminator: ½ mean(-log sigmoid(D(sharp)) - log(1 - sigmoid(D(restored)))) + r1/2 mean(‖∇D(sharp)‖²)

    Means are over patches, then over heads. The factor ½ slows the discriminator down relative to the generator (Isola
    et al., CVPR 2017, section 3.3). The gradient penalty is R1, which makes the training locally convergent
    (Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9).

    Args:
        r1: Weight of the R1 gradient penalty; 0 omits it.

    Example:
        >>> import torch
        >>> undecided = DiscriminatorOutput(logits=[torch.zeros(1, 1, 2, 2)], features=[])
        >>> round(Adv().generator_loss(None, undecided).item(), 4)  # log 2
        0.6931
    """

    boundary = 0.0

    def __init__(self, *, r1: float = 0.0) -> None:
        super().__init__()
        self._r1 = r1

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the cross-entropy of restored images with the label "real"."""
        return mean_over_heads(F.softplus(-logits).mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return half the sum of the cross-entropies of sharp and restored images with their labels."""
        heads = zip(real.logits, fake.logits, strict=True)
        return 0.5 * mean_over_heads(F.softplus(-r).mean() + F.softplus(f).mean() for r, f in heads)

    def penalty(self, discriminator: nn.Module, sharp: Tensor, restored: Tensor, blurred: Tensor) -> Tensor | None:
        """Return the R1 gradient penalty at sharp images; None if its weight is 0."""
        return self._r1 / 2 * squared_gradient_norm(discriminator, sharp, blurred).mean() if self._r1 else None
