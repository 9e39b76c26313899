"""Identity loss."""

from deblurlab.losses.l1 import L1


class Identity(L1):
    """Identity loss of CycleGAN: L1 between G(sharp) and sharp (Zhu et al., ICCV 2017, section 5.2).

    G restores. The loss of the blurring generator F compares F(blurred) with blurred. It preserves the colours of the
    input. Images are in [0, 1]; the published code uses [-1, 1], where the value is twice as large.

    Example:
        >>> import torch
        >>> Identity()(torch.full((1, 3, 4, 4), 0.25), torch.full((1, 3, 4, 4), 0.75)).item()
        0.5
    """

    compares = "identity"
