"""Total variation loss."""

from torch import Tensor

from deblurlab.losses.base import LossTerm


class TV(LossTerm):
    """Anisotropic total variation of the restored image (Rudin et al., Physica D 1992).

        mean(|restored[y + 1, x] - restored[y, x]|) + mean(|restored[y, x + 1] - restored[y, x]|)

    A regulariser: it doesn't use the sharp image. DeblurGAN (Kupyn et al., CVPR 2018) reports that it lowers quality.

    Example:
        >>> import torch
        >>> columns = torch.tensor([0.0, 1.0]).expand(1, 3, 4, 2)
        >>> TV()(columns, columns).item()
        1.0
    """

    compares = "set"
    min_size = 2

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        """Return the total variation of the restored images."""
        return restored.diff(dim=-2).abs().mean() + restored.diff(dim=-1).abs().mean()
