"""Feature matching loss."""

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.discriminators.base import DiscriminatorOutput
from deblurlab.errors import UserError
from deblurlab.losses.base import DiscriminatorLoss


class FeatureMatching(DiscriminatorLoss):
    """L1 between discriminator features of real and restored images ("pix2pixHD", Wang et al., CVPR 2018, equation 4).

        mean over layers i of mean(|D_i(restored) - D_i(sharp)|)

    It doesn't train the discriminator. Combine it with an adversarial loss; otherwise the features stay random.

    Example:
        >>> import torch
        >>> real, fake = (DiscriminatorOutput([], [torch.full((1, 8, 2, 2), x)]) for x in (1.0, 0.5))
        >>> FeatureMatching().generator_loss(real, fake).item()
        0.5
    """

    generator_needs_real = True

    def generator_loss(self, real: DiscriminatorOutput | None, fake: DiscriminatorOutput) -> Tensor:
        """Return the mean absolute difference of features, averaged over layers."""
        assert real is not None
        if not fake.features:
            raise UserError(
                "loss feature_matching compares features, and the discriminator returns logits only: let it return "
                "DiscriminatorOutput(logits, features)"
            )
        layers = zip(real.features, fake.features, strict=True)
        return torch.stack([F.l1_loss(f, r) for r, f in layers]).mean()
