"""Learning rate schedulers.

Each function returns a scheduler for an optimizer. `total` is the length of the training in the scheduler's intervals
(steps or epochs, `scheduler.interval`). The rate is a function of the interval alone: a training that is resumed with
another length follows the new curve.
"""

import math
from collections.abc import Callable
from functools import partial

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler


def constant(optimizer: Optimizer) -> LRScheduler:
    """Keep the initial rate."""
    return ConstantLR(optimizer, factor=1.0, total_iters=0)


def cosine(optimizer: Optimizer, total: int, *, warmup: int = 0, hold: int = 0, final: float = 1e-7) -> LRScheduler:
    """Rise linearly for `warmup` intervals, stay for `hold`, then fall to the rate `final` along half a cosine.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017, equation 5, without restarts.
    """

    def factor(initial: float, i: int) -> float:
        if i < warmup:
            return (i + 1) / (warmup + 1)
        height = (1 + math.cos(math.pi * _progress(i, warmup + hold, total))) / 2
        return _relative_rate(initial, final, height)

    return _lambda_scheduler(optimizer, factor)


def linear(optimizer: Optimizer, total: int, *, hold: int = 0, final: float = 0.0) -> LRScheduler:
    """Stay for `hold` intervals, then fall linearly to the rate `final` (pix2pix, DeblurGAN)."""

    def factor(initial: float, i: int) -> float:
        return _relative_rate(initial, final, 1 - _progress(i, hold, total))

    return _lambda_scheduler(optimizer, factor)


def poly(optimizer: Optimizer, total: int, *, power: float = 0.9, final: float = 0.0) -> LRScheduler:
    """Fall to the rate `final` with `(1 - i / total) ** power` (SRN: power 0.3)."""

    def factor(initial: float, i: int) -> float:
        return _relative_rate(initial, final, (1 - _progress(i, 0, total)) ** power)

    return _lambda_scheduler(optimizer, factor)


def _progress(i: int, start: int, total: int) -> float:
    """Return the completed share of the decay, which lasts from `start` to `total`."""
    return min(1.0, max(0.0, (i - start) / max(1, total - start)))


def _relative_rate(initial: float, final: float, height: float) -> float:
    """Return the rate at `height` between `final` (0) and `initial` (1), divided by `initial` as LambdaLR expects."""
    return (final + (initial - final) * height) / initial if initial else 1.0


def _lambda_scheduler(optimizer: Optimizer, factor: Callable[[float, int], float]) -> LRScheduler:
    return LambdaLR(optimizer, [partial(factor, group["lr"]) for group in optimizer.param_groups])
