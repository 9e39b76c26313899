"""What a model costs."""

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """The number of its parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def macs(model: nn.Module, size: int = 256) -> int:
    """Multiply-accumulates for one image of `size` x `size`: half the floating-point operations of its convolutions and
    matrix products; what is element by element isn't counted. Nothing is computed: shapes are enough."""
    shapes = {name: value.to("meta") for name, value in [*model.named_parameters(), *model.named_buffers()]}
    dtype = next(model.parameters()).dtype
    image = torch.empty(1, 3, size, size, dtype=dtype, device="meta")
    training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.compiler.set_stance("force_eager"):
        functional_call(model.eval(), shapes, (image,))
    model.train(training)
    return int(counter.get_total_flops()) // 2
