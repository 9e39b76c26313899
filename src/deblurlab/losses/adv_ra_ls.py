"""Relativistic average least-squares GAN objective."""

from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, mean_over_heads


class AdvRaLS(AdversarialLoss):
    """Relativistic average least-squares loss (RaGAN-LS; Kupyn et al., "DeblurGAN-v2", ICCV 2019, equation 2).

        discriminator: ½ mean((D(sharp) - E[D(restored)] - 1)² + (D(restored) - E[D(sharp)] + 1)²)
        generator:     the same with sharp and restored exchanged

    Means are over patches, then over heads. The relativistic discriminator is from Jolicoeur-Martineau, ICLR 2019. The
    expectations E are means over the batch on this device, or means over past batches, through which no gradient flows
    (`module.history`; DeblurGAN-v2 keeps 50 batches).

    Example:
        >>> import torch
        >>> real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), x)], []) for x in (1.0, 0.0))
        >>> AdvRaLS().discriminator_loss(real, fake).item()
        0.0
        >>> AdvRaLS().generator_loss(real, fake).item()
        4.0
    """

    generator_needs_real = True

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the loss that puts restored images' logits 1 above the mean logit of sharp images."""
        assert real is not None
        return _relativistic_loss(fake, real)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return the loss that puts sharp images' logits 1 above the mean logit of restored images."""
        return _relativistic_loss(real, fake)


def _relativistic_loss(above: DiscriminatorOutput, below: DiscriminatorOutput) -> Tensor:
    """Return the loss that puts logits of `above` 1 above the mean of `below`, and the other way round."""
    heads = zip(above.logits, below.logits, above.means(), below.means(), strict=True)
    return 0.5 * mean_over_heads(
        (a - mean_b - 1).square().mean() + (b - mean_a + 1).square().mean() for a, b, mean_a, mean_b in heads
    )
