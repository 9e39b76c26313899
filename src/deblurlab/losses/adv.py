"""The GAN objective."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.discriminators.base import Judgement
from deblurlab.losses.base import AdversarialTerm


class Adv(AdversarialTerm):
    """Binary cross-entropy on logits, non-saturating for the generator (Goodfellow et al., NeurIPS 2014; the paper's
    equations 4 and 5), averaged over patches, then over the discriminator's heads.

    Generator: -log D(restored). Discriminator: half of -log D(sharp) - log(1 - D(restored)), so that it doesn't
    outpace the generator (Isola et al., CVPR 2017, section 3.3).
    """

    def generator_loss(self, real: Judgement | None, fake: Judgement) -> Tensor:
        return torch.stack([F.softplus(-logits).mean() for logits in fake.logits]).mean()

    def discriminator_loss(self, real: Judgement, fake: Judgement) -> Tensor:
        heads = zip(real.logits, fake.logits, strict=True)
        return 0.5 * torch.stack([F.softplus(-r).mean() + F.softplus(f).mean() for r, f in heads]).mean()
