"""Numbers that have gone wrong are kept out of the weights, without the host waiting for a GPU to know."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Held:
    """Tensors of one device as they are, to have them back should what comes now turn out bad."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._groups = _bits(tensors)
        self._before = {dtype: torch._foreach_add(group, 0) for dtype, group in self._groups.items()}

    def keep(self, good: Tensor) -> None:
        """Leave the tensors as they have become if `good`, a bool on their device, says so; else as they were."""
        for dtype, group in self._groups.items():
            new, before = good.to(dtype), self._before[dtype]
            torch._foreach_mul_(group, new)
            torch._foreach_mul_(before, 1 - new)
            torch._foreach_add_(group, before)


class Update:
    """One step of an optimizer that isn't taken if its gradient isn't finite.

    Where the processor does the work the gradient is taken away, and the optimizer passes over its parameters. On a
    GPU, which isn't waited for, the parameters and the optimizer's state there are put back; what it keeps elsewhere,
    such as Adam's count of steps, goes on.

    Args:
        optimizer: About to step.
        norm: Of its gradient. It is infinite too where squares overflow, so that no second moment does.
    """

    def __init__(self, optimizer: Optimizer, norm: Tensor) -> None:
        self.taken = norm.isfinite()
        self._optimizer = optimizer
        self._held: Held | None = None
        if norm.device.type != "cpu":
            self.hold()
        elif not self.taken:
            optimizer.zero_grad()

    def hold(self) -> None:
        """Remember what the step may change."""
        parameters = (p for group in self._optimizer.param_groups for p in group["params"])
        self._learnt = [p for p in parameters if p.grad is not None]
        self._known = self._state()
        self._held = Held([*self._learnt, *self._known.values()])

    def finish(self) -> None:
        """After the step: undo it if it shouldn't have been taken."""
        if self._held is None:
            return
        self._held.keep(self.taken)
        made = [tensor for key, tensor in self._state().items() if key not in self._known]
        for dtype, group in _bits(made).items():  # the first step's, which begin as zeros
            torch._foreach_mul_(group, self.taken.to(dtype))

    def _state(self) -> dict[tuple[int, str], Tensor]:
        return {
            (i, name): value
            for i, p in enumerate(self._learnt)
            for name, value in self._optimizer.state.get(p, {}).items()
            if isinstance(value, Tensor) and value.device == self.taken.device
        }


def _bits(tensors: Iterable[Tensor]) -> dict[torch.dtype, list[Tensor]]:
    """Tensors as integers, by their type. Multiplied by 0 or 1 they are chosen in a few kernels, and no NaN is left, as
    0 times NaN would be."""
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in {(tensor.data_ptr(), tensor.dtype): tensor for tensor in tensors}.values():
        bits = tensor.detach().view(_BITS[tensor.element_size()])
        groups.setdefault(bits.dtype, []).append(bits)
    return groups
