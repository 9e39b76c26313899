"""Adversarial loss of one's own: the total variation GAN (Nowozin et al., "f-GAN", NeurIPS 2016, table 2)."""

from torch import Tensor


def generator(fake: Tensor) -> Tensor:
    """Return what the generator minimises, given the logits of restored images."""
    return -0.5 * fake.tanh().mean()


def discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Return what the discriminator minimises, given the logits of sharp and of restored images."""
    return 0.5 * (fake.tanh().mean() - real.tanh().mean())
