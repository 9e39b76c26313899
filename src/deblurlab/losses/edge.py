"""Difference of edges."""

from torch import Tensor

from deblurlab.losses.base import LossTerm
from deblurlab.losses.charbonnier import smooth_absolute


class Edge(LossTerm):
    """Charbonnier distance of the images' Laplacians (Zamir et al., MPRNet, CVPR 2021, equation 4): the five-point
    Laplacian, where it fits; MPRNet's code takes the finest level of a Laplacian pyramid instead."""

    scales = "all"
    min_size = 3

    def __init__(self, *, epsilon: float = 1e-3) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it is more than 0")
        self._epsilon = epsilon

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        d = restored - sharp
        neighbours = d[..., :-2, 1:-1] + d[..., 2:, 1:-1] + d[..., 1:-1, :-2] + d[..., 1:-1, 2:]
        return smooth_absolute(neighbours - 4 * d[..., 1:-1, 1:-1], self._epsilon)
