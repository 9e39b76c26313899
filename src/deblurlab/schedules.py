"""Learning rates over a training. Each makes a scheduler for an optimizer; `total` is the length of
the training in the scheduler's own intervals (steps or epochs)."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR


def constant(optimizer: Optimizer) -> LRScheduler:
    """The rate as it is."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, total: int, *, warmup: int = 0, final: float = 1e-7) -> LRScheduler:
    """Rises linearly for `warmup` intervals, then falls to the rate `final` along half a cosine (Loshchilov and Hutter,
    "SGDR", ICLR 2017, equation 5, without restarts)."""
    fall = CosineAnnealingLR(optimizer, T_max=max(1, total - warmup), eta_min=final)
    if warmup == 0:
        return fall
    rise = LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
    return SequentialLR(optimizer, [rise, fall], milestones=[warmup])
