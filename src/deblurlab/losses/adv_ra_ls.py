"""The relativistic average least-squares GAN objective."""

from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, per_head


class AdvRaLS(AdversarialLoss):
    """Real images shall be judged by 1 more real than the average restored one, and the other way round; the
    generator wants the opposite (Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019; DeblurGAN-v2,
    Kupyn et al., ICCV 2019, equation 2). Half the sum of both sides, averaged over patches, then heads.

    Averages are over the batch on this device, or over a history of past batches (`module.history`, 50 in
    DeblurGAN-v2), through which no gradient flows.
    """

    generator_needs_real = True

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        assert real is not None
        return _pull_apart(fake, real)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        return _pull_apart(real, fake)


def _pull_apart(above: DiscriminatorOutput, below: DiscriminatorOutput) -> Tensor:
    """The first by 1 above the average of the second, and the second by 1 below that of the first."""
    heads = zip(above.logits, below.logits, above.means(), below.means(), strict=True)
    return 0.5 * per_head(
        (a - mean_b - 1).square().mean() + (b - mean_a + 1).square().mean() for a, b, mean_a, mean_b in heads
    )
