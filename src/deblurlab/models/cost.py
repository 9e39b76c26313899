"""What a model costs."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """The number of its parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def macs(model: nn.Module, size: int = 256) -> int:
    """Multiply-accumulates for one image of `size` x `size`: half the floating-point operations of its convolutions and
    matrix products; what is element by element isn't counted."""
    parameter = next(model.parameters())
    image = torch.zeros(1, 3, size, size, dtype=parameter.dtype, device=parameter.device)
    training = model.training
    counter = FlopCounterMode(display=False)
    with counter:
        model.eval()(image)
    model.train(training)
    return int(counter.get_total_flops()) // 2
