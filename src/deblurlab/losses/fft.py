"""Frequency loss."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.losses.base import LossTerm, at_least_float32


class FFT(LossTerm):
    """L1 between the Fourier transforms of the images (Cho et al., "MIMO-UNet", ICCV 2021, equation 6).

        mean over real and imaginary parts of |FFT(restored) - FFT(sharp)|

    This is the multi-scale frequency reconstruction loss, one scale per call.

    Args:
        norm: "ortho" scales the transform by 1/√(HW), so that the value doesn't depend on the image's size; "backward"
            doesn't scale it, as in MIMO-UNet. Published weights are for "backward".

    Raises:
        ValueError: `norm` is unknown.

    Example:
        >>> import torch
        >>> restored, sharp = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
        >>> round(FFT(norm="backward")(restored, sharp).item(), 4)  # 16 in one of 32 values
        0.5
        >>> round(FFT(norm="ortho")(restored, sharp).item(), 4)
        0.125
    """

    scales = "all"

    def __init__(self, *, norm: Literal["ortho", "backward"] = "ortho") -> None:
        super().__init__()
        if norm not in ("ortho", "backward"):
            raise ValueError(f"unknown norm {norm!r}: ortho or backward")
        self._norm = norm

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean absolute difference of the spectra."""
        spectrum = torch.view_as_real(torch.fft.fft2(at_least_float32(restored - sharp), norm=self._norm))
        return F.l1_loss(spectrum, torch.zeros_like(spectrum))
