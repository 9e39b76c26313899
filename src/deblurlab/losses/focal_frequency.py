"""Focal frequency loss."""

import torch
from torch import Tensor

from deblurlab.losses.base import LossTerm, at_least_float32


class FocalFrequency(LossTerm):
    """Squared difference of spectra, weighted towards large differences (Jiang et al., ICCV 2021, equations 7 and 8).

        mean(w · |d|²),  d = FFT(restored) - FFT(sharp),  w = |d|^alpha / max |d|^alpha

    The transform is orthonormal, the maximum is over the frequencies of one channel, no gradient flows through w, and
    images are not divided into patches.

    Args:
        alpha: Exponent of the weight; 0 weights all frequencies equally.

    Raises:
        ValueError: `alpha` is negative.

    Example:
        >>> import torch
        >>> round(FocalFrequency()(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)).item(), 4)
        0.25
    """

    scales = "all"

    def __init__(self, *, alpha: float = 1.0) -> None:
        super().__init__()
        if alpha < 0:
            raise ValueError(f"alpha is {alpha}: it must be at least 0")
        self._alpha = alpha

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean weighted squared difference of the spectra."""
        difference = torch.view_as_real(torch.fft.fft2(at_least_float32(restored - sharp), norm="ortho"))
        distance = difference.square().sum(dim=-1)
        weight = distance.detach().sqrt().pow(self._alpha)
        largest = weight.amax(dim=(-2, -1), keepdim=True)
        return (weight / largest.clamp(min=1e-12) * distance).mean()
