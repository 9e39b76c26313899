"""The Wasserstein GAN objective with gradient penalty."""

import torch
from torch import Tensor

from deblurlab.discriminators.base import Discriminator, DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, per_head, squared_gradient_norm


class AdvWGANGP(AdversarialLoss):
    """Difference of mean logits; the critic's gradient is held at norm 1 on random mixtures of sharp and restored
    images (Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, equation 3), five critic steps to
    one of the generator. The norm is over all values of a sample, each sample has its mixture, and a sample's logit
    is the mean over its patches and heads.
    """

    n_critic = 5

    def __init__(self, *, gradient_penalty: float = 10.0) -> None:
        super().__init__()
        self._gradient_penalty = gradient_penalty

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        return per_head(-logits.mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        heads = zip(real.logits, fake.logits, strict=True)
        return per_head(f.mean() - r.mean() for r, f in heads)

    def penalty(self, discriminator: Discriminator, sharp: Tensor, restored: Tensor, blurred: Tensor) -> Tensor | None:
        share = torch.rand(len(sharp), 1, 1, 1, dtype=sharp.dtype, device=sharp.device)
        mixed = torch.lerp(restored.to(sharp.dtype), sharp, share)
        # The root's slope is infinite at 0.
        norm = (squared_gradient_norm(discriminator, mixed, blurred) + 1e-12).sqrt()
        return self._gradient_penalty * (norm - 1).square().mean()
