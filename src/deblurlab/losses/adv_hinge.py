"""The hinge GAN objective."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, per_head


class AdvHinge(AdversarialLoss):
    """Logits of real images are pushed above 1, of restored ones below -1; the generator raises the latter (Lim and Ye,
    "Geometric GAN", 2017, equations 14 and 15), averaged over patches, then heads."""

    boundary = 0.0

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        return per_head(-logits.mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        heads = zip(real.logits, fake.logits, strict=True)
        return per_head(F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in heads)
