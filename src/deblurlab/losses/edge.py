"""Edge loss."""

from torch import Tensor

from deblurlab.losses.base import LossTerm
from deblurlab.losses.charbonnier import charbonnier


class Edge(LossTerm):
    """Charbonnier distance of the images' Laplacians (Zamir et al., "MPRNet", CVPR 2021, equation 4).

        mean(√((Δrestored - Δsharp)² + ε²)) - ε

    Δ is the five-point Laplacian without padding. MPRNet's code uses the finest level of a Laplacian pyramid instead.

    Args:
        epsilon: ε of `Charbonnier`.

    Raises:
        ValueError: `epsilon` is not positive.

    Example:
        >>> import torch
        >>> restored = torch.zeros(1, 3, 3, 3)
        >>> restored[:, :, 1, 1] = 0.5  # Laplacian -2
        >>> round(Edge()(restored, torch.zeros(1, 3, 3, 3)).item(), 3)
        1.999
        >>> Edge()(restored, restored + 0.25).item()  # a constant has no edges
        0.0
    """

    scales = "all"
    min_size = 3

    def __init__(self, *, epsilon: float = 1e-3) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it must be greater than 0")
        self._epsilon = epsilon

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the mean Charbonnier distance of the Laplacians."""
        d = restored - sharp
        neighbours = d[..., :-2, 1:-1] + d[..., 2:, 1:-1] + d[..., 1:-1, :-2] + d[..., 1:-1, 2:]
        return charbonnier(neighbours - 4 * d[..., 1:-1, 1:-1], self._epsilon)
