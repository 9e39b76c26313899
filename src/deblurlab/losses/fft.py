"""Difference of spectra."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.losses.base import LossTerm, exact


class FFT(LossTerm):
    """Mean absolute difference of the real and imaginary parts of the images' spectra (the multi-scale frequency
    reconstruction loss of Cho et al., MIMO-UNet, ICCV 2021, equation 6). With `norm="ortho"` its value doesn't grow
    with the image; published weights go with "backward", the unscaled transform."""

    scales = "all"

    def __init__(self, *, norm: Literal["ortho", "backward"] = "ortho") -> None:
        super().__init__()
        if norm not in ("ortho", "backward"):
            raise ValueError(f"unknown norm {norm!r}: ortho or backward")
        self._norm = norm

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        spectrum = torch.view_as_real(torch.fft.fft2(exact(restored - sharp), norm=self._norm))
        return F.l1_loss(spectrum, torch.zeros_like(spectrum))
