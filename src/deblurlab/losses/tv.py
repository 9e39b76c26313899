"""Total variation."""

from torch import Tensor

from deblurlab.losses.base import LossTerm


class TV(LossTerm):
    """Mean absolute difference of vertical plus of horizontal neighbours in the restored image (Rudin et al., Physica D
    1992, anisotropic): a regulariser, which knows nothing of the sharp image. (DeblurGAN reports that it hurts.)"""

    compares = "set"
    min_size = 2

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        return restored.diff(dim=-2).abs().mean() + restored.diff(dim=-1).abs().mean()
