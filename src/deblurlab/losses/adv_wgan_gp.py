"""Wasserstein GAN objective with gradient penalty."""

import torch
from torch import Tensor, nn

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import AdversarialLoss, mean_over_heads, squared_gradient_norm


class AdvWGANGP(AdversarialLoss):
    """Wasserstein loss with gradient penalty (WGAN-GP: Gulrajani et al., NeurIPS 2017, equation 3).

        generator: mean(-D(restored))
        critic:    mean(D(restored) - D(sharp)) + λ mean((‖∇D(x)‖ - 1)²),  x = u · sharp + (1 - u) · restored

    u is uniform in [0, 1], one value per sample. The norm is the L2 norm over all values of a sample, and the logit of
    a sample is the mean over its patches, then heads. The publication updates the critic five times per generator
    update.

    Args:
        gradient_penalty: Weight λ of the penalty.

    Example:
        >>> import torch
        >>> real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), x)], []) for x in (2.0, -1.0))
        >>> AdvWGANGP().discriminator_loss(real, fake).item()
        -3.0
        >>> AdvWGANGP().generator_loss(None, fake).item()
        1.0
    """

    n_critic = 5

    def __init__(self, *, gradient_penalty: float = 10.0) -> None:
        super().__init__()
        self._gradient_penalty = gradient_penalty

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the negative mean logit of restored images."""
        return mean_over_heads(-logits.mean() for logits in fake.logits)

    def discriminator_loss(self, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
        """Return the mean logit of restored images minus that of sharp images."""
        heads = zip(real.logits, fake.logits, strict=True)
        return mean_over_heads(f.mean() - r.mean() for r, f in heads)

    def penalty(self, discriminator: nn.Module, sharp: Tensor, restored: Tensor, blurred: Tensor) -> Tensor | None:
        """Return the weighted gradient penalty at random interpolations of sharp and restored images."""
        u = torch.rand(len(sharp), 1, 1, 1, dtype=sharp.dtype, device=sharp.device)
        interpolated = torch.lerp(restored.to(sharp.dtype), sharp, u)
        # 1e-12 avoids the infinite gradient of sqrt at 0.
        norm = (squared_gradient_norm(discriminator, interpolated, blurred) + 1e-12).sqrt()
        return self._gradient_penalty * (norm - 1).square().mean()
