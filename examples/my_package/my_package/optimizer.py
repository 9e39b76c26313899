"""Optimizer of one's own."""

from collections.abc import Callable, Iterable

import torch
from torch import nn


class SignSGD(torch.optim.Optimizer):
    """Steps of size `lr` in the direction of the gradient's sign (Bernstein et al., ICML 2018)."""

    def __init__(self, parameters: Iterable[nn.Parameter], *, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the parameters."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(group["lr"] * parameter.grad.sign())
        return loss
