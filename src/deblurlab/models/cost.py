"""Number of parameters and multiply-accumulate operations of a model."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from deblurlab.models.base import Restored, run_generator


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def count_macs(model: nn.Module, size: int = 256) -> int:
    """Return the multiply-accumulate operations (MACs) for one image of `size` x `size` pixels.

    MACs are half the floating-point operations of convolutions and matrix products; element-wise operations aren't
    counted. The forward pass runs on the meta device, which propagates shapes and computes nothing. A model that can't
    run there, such as one that creates tensors on the CPU, restores an image instead.

    Raises:
        SizeError: The model can't restore this size.
    """
    training = model.training
    runner = _Runner(model.eval())
    tensors = {name: value.to("meta") for name, value in [*runner.named_parameters(), *runner.named_buffers()]}
    example = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, 3, size, size, dtype=example.dtype, device=example.device)
    try:
        try:
            return _macs(lambda: functional_call(runner, tensors, (image.to("meta"),)))
        except Exception:  # an operation without a meta kernel, or with tensors of two devices
            return _macs(lambda: runner(image))
    finally:
        model.train(training)


class _Runner(nn.Module):
    """A generator that is called by `run_generator`."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, image: Tensor) -> Restored:
        return run_generator(self.generator, image)


def _macs(call: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.compiler.set_stance("force_eager"):
        call()
    return int(counter.get_total_flops()) // 2
