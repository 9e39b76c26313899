"""Optimizers that torch doesn't have."""

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from deblurlab.errors import UserError


def lion(
    parameters: Iterable[nn.Parameter], *, lr: float, betas: tuple[float, float], weight_decay: float
) -> Optimizer:
    """Return timm's Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", NeurIPS 2023, algorithm 2).

    Raises:
        UserError: timm isn't installed.
    """
    try:
        from timm.optim.lion import Lion
    except ImportError as error:
        raise UserError("optimizer=lion needs timm: pip install 'deblurlab[timm]'") from error
    return Lion(parameters, lr=lr, betas=betas, weight_decay=weight_decay)
