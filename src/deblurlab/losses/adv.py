"""The GAN objective."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, per_head, squared_gradient_norm


class Adv(AdversarialLoss):
    """Binary cross-entropy on logits, non-saturating for the generator (Goodfellow et al., NeurIPS 2014; the paper's
    equations 4 and 5), averaged over patches, then over the discriminator's heads.

    Generator: -log D(restored). Discriminator: half of -log D(sharp) - log(1 - D(restored)), so that it doesn't
    outpace the generator (Isola et al., CVPR 2017, section 3.3). `r1` is the weight gamma of a penalty of
    gamma / 2 times the squared norm of the discriminator's gradient at sharp images, which makes the game
    converge (Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9).
    """

    boundary = 0.0

    def __init__(self, *, r1: float = 0.0) -> None:
        super().__init__()
        self._r1 = r1

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        return per_head(F.softplus(-logits).mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        heads = zip(real.logits, fake.logits, strict=True)
        return 0.5 * per_head(F.softplus(-r).mean() + F.softplus(f).mean() for r, f in heads)

    def penalty(self, discriminator: Discriminator, sharp: Tensor, restored: Tensor, blurred: Tensor) -> Tensor | None:
        return self._r1 / 2 * squared_gradient_norm(discriminator, sharp, blurred).mean() if self._r1 else None
