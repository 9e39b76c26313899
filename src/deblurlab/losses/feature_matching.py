"""Distance in the discriminator's eyes."""

import torch.nn.functional as F
from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.losses.base import DiscriminatorLoss, per_head


class FeatureMatching(DiscriminatorLoss):
    """Mean absolute difference of the discriminator's activations for sharp and restored images, averaged over its
    layers (Wang et al., pix2pixHD, CVPR 2018, equation 4). It doesn't train the discriminator: that takes an
    adversarial term beside it; without one the features stay random.
    """

    generator_needs_real = True

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        assert real is not None
        return per_head(F.l1_loss(f, r) for r, f in zip(real.features, fake.features, strict=True))
