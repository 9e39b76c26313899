"""Number of parameters and multiply-accumulate operations of a model."""

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_macs(model: nn.Module, size: int = 256) -> int:
    """Return the multiply-accumulate operations (MACs) for one image of `size` x `size` pixels.

    MACs are half the floating-point operations of convolutions and matrix products; element-wise operations aren't
    counted. The forward pass runs on the meta device, which propagates shapes and computes nothing.
    """
    tensors = {name: value.to("meta") for name, value in [*model.named_parameters(), *model.named_buffers()]}
    dtype = next(model.parameters()).dtype
    image = torch.empty(1, 3, size, size, dtype=dtype, device="meta")
    training = model.training
    counter = FlopCounterMode(display=False)
    with counter, torch.compiler.set_stance("force_eager"):
        functional_call(model.eval(), tensors, (image,))
    model.train(training)
    return int(counter.get_total_flops()) // 2
