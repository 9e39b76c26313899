"""Difference of spectra where it is largest."""

import torch
from torch import Tensor

from deblurlab.losses.base import LossTerm, exact


class FocalFrequency(LossTerm):
    """Squared difference of the images' spectra (orthonormal), weighted by its own magnitude to the power `alpha`,
    scaled to at most 1 in each channel, through which no gradient flows (Jiang et al., "Focal Frequency Loss for
    Image Reconstruction and Synthesis", ICCV 2021, equations 7 and 8, without patches)."""

    scales = "all"

    def __init__(self, *, alpha: float = 1.0) -> None:
        super().__init__()
        if alpha < 0:
            raise ValueError(f"alpha is {alpha}: it is at least 0")
        self._alpha = alpha

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        difference = torch.view_as_real(torch.fft.fft2(exact(restored - sharp), norm="ortho"))
        distance = difference.square().sum(dim=-1)
        focus = distance.detach().sqrt().pow(self._alpha)
        largest = focus.amax(dim=(-2, -1), keepdim=True)
        return (focus / largest.clamp(min=1e-12) * distance).mean()
