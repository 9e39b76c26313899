"""Cycle consistency."""

from deblurlab.losses.l1 import L1


class Cycle(L1):
    """Mean absolute difference between an image and what comes back of it when it has been restored and blurred again,
    or blurred and restored (Zhu et al., CycleGAN, ICCV 2017, equation 2; the equation's two summands are logged
    apart). Images are in [0, 1]; where they are in [-1, 1], as in the published code, it is twice as large.
    """

    compares = "cycle"
