"""Learning rates over a training. Each makes a scheduler for an optimizer; `total` is the length of
the training in the scheduler's own intervals (steps or epochs)."""

import math
from collections.abc import Callable
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler


def constant(optimizer: Optimizer) -> LRScheduler:
    """The rate as it is."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, total: int, *, warmup: int = 0, hold: int = 0, final: float = 1e-7) -> LRScheduler:
    """Rises linearly for `warmup` intervals, stays for `hold`, then falls to the rate `final` along half a cosine
    (Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts)."""

    def factor(peak: float, i: int) -> float:
        if i < warmup:
            return (i + 1) / (warmup + 1)
        return _between(peak, final, (1 + math.cos(math.pi * _done(i, warmup + hold, total))) / 2)

    return _by_factor(optimizer, factor)


def linear(optimizer: Optimizer, total: int, *, hold: int = 0, final: float = 0.0) -> LRScheduler:
    """Stays for `hold` intervals, then falls to the rate `final` in a straight line (pix2pix, DeblurGAN)."""

    def factor(peak: float, i: int) -> float:
        return _between(peak, final, 1 - _done(i, hold, total))

    return _by_factor(optimizer, factor)


def poly(optimizer: Optimizer, total: int, *, power: float = 0.9, final: float = 0.0) -> LRScheduler:
    """Falls to the rate `final` by the `power` of the share that is left (SRN: 0.3)."""

    def factor(peak: float, i: int) -> float:
        return _between(peak, final, (1 - _done(i, 0, total)) ** power)

    return _by_factor(optimizer, factor)


# All are functions of the interval alone: a training that is resumed with another length follows the new curve.


def _done(i: int, start: int, total: int) -> float:
    """The share of the fall that lies behind."""
    return min(1.0, max(0.0, (i - start) / max(1, total - start)))


def _between(peak: float, final: float, height: float) -> float:
    """LambdaLR multiplies; a rate of 0 stays 0."""
    return (final + (peak - final) * height) / peak if peak else 1.0


def _by_factor(optimizer: Optimizer, factor: Callable[[float, int], float]) -> LRScheduler:
    return LambdaLR(optimizer, [partial(factor, group["lr"]) for group in optimizer.param_groups])
