"""Learning rates over a training. Each makes a scheduler for an optimizer; `total` is the length of
the training in the scheduler's own intervals (steps or epochs)."""

import math
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler


def constant(optimizer: Optimizer) -> LRScheduler:
    """The rate as it is."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, total: int, *, warmup: int = 0, final: float = 1e-7) -> LRScheduler:
    """Rises linearly for `warmup` intervals, then falls to the rate `final` along half a cosine (Loshchilov and Hutter,
    "SGDR", ICLR 2017, equation 5, without restarts).

    A function of the interval alone: a training that is resumed with another length follows the new curve.
    """

    def factor(peak: float, i: int) -> float:  # LambdaLR multiplies; a rate of 0 stays 0
        if i < warmup or peak == 0:
            return (i + 1) / (warmup + 1)
        done = min(1.0, (i - warmup) / max(1, total - warmup))
        return (final + (peak - final) * (1 + math.cos(math.pi * done)) / 2) / peak

    return LambdaLR(optimizer, [partial(factor, group["lr"]) for group in optimizer.param_groups])
