"""Leaving alone what is right already."""

from deblurlab.losses.l1 import L1


class Identity(L1):
    """Mean absolute difference between a sharp image and what restoring makes of it, and between a blurred one and what
    blurring makes of it (Zhu et al., CycleGAN, ICCV 2017, section 5.2: it keeps colours). Images are in [0, 1];
    where they are in [-1, 1], as in the published code, it is twice as large.
    """

    compares = "identity"
