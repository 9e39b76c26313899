"""The least-squares GAN objective."""

from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, per_head


class AdvLS(AdversarialLoss):
    """Squared distance of logits from 1 for real and 0 for restored images (Mao et al., "Least Squares Generative
    Adversarial Networks", ICCV 2017, equation 2 with a=0, b=c=1; as CycleGAN uses it, with the whole square for the
    generator and half of both for the discriminator), averaged over patches, then heads."""

    boundary = 0.5

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        return per_head((logits - 1).square().mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        heads = zip(real.logits, fake.logits, strict=True)
        return 0.5 * per_head((r - 1).square().mean() + f.square().mean() for r, f in heads)
