"""Multi-scale structural similarity as a loss."""

import torch
from torch import Tensor
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from deblurlab.losses.base import LossTerm, at_least_float32
from deblurlab.losses.ssim import window_size


class MSSSIM(LossTerm):
    """1 - MS-SSIM over five scales (Wang et al., Asilomar 2003; Zhao et al., IEEE TCI 2017), by torchmetrics.

    Each factor x in [-1, 1] of the product is replaced by (1 + x) / 2: fractional powers of negative numbers are
    undefined, and clamping at 0 gives NaN gradients. The minimum side is 16 windows: 176 pixels for `sigma=1.5`.

    Args:
        sigma: Standard deviation of the Gaussian window in pixels.

    Raises:
        ValueError: `sigma` is not positive.

    Example:
        >>> import torch
        >>> image = torch.linspace(0, 1, 3 * 48 * 48).view(1, 3, 48, 48)
        >>> loss = MSSSIM(sigma=0.3)
        >>> loss(image, image).item() < 1e-6, loss.min_size
        (True, 48)
    """

    def __init__(self, *, sigma: float = 1.5) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f"sigma is {sigma}: it must be greater than 0 pixels")
        self._sigma, self._window = sigma, window_size(sigma)
        self.min_size = self._window * 2**4

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return 1 - MS-SSIM, averaged over images."""
        with torch.autocast(restored.device.type, enabled=False):  # variances lose their digits in half precision
            value = multiscale_structural_similarity_index_measure(
                at_least_float32(restored), at_least_float32(sharp), sigma=self._sigma, kernel_size=self._window,
                data_range=1.0, normalize="simple",
            )  # fmt: skip
        return 1 - value
