"""Cycle consistency loss."""

from deblurlab.losses.l1 import L1


class Cycle(L1):
    """Cycle consistency loss of CycleGAN: L1 between an image and its reconstruction (Zhu et al., ICCV 2017, eq. 2).

        mean(|F(G(blurred)) - blurred|)  and  mean(|G(F(sharp)) - sharp|)

    G restores and F blurs. The two terms of the equation are logged separately. Images are in [0, 1]; the published
    code uses [-1, 1], where the value is twice as large.

    Example:
        >>> import torch
        >>> Cycle()(torch.full((1, 3, 4, 4), 0.25), torch.full((1, 3, 4, 4), 0.75)).item()
        0.5
    """

    compares = "cycle"
