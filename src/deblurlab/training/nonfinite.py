"""Guards that keep non-finite values out of weights and buffers, without a host-device synchronisation on GPUs."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from deblurlab._compat import foreach

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Snapshot:
    """Copy of tensors on one device, to restore them if what follows turns out non-finite."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._groups = _as_integers(tensors)
        self._saved = {dtype: foreach("add")(group, 0) for dtype, group in self._groups.items()}

    def restore_unless(self, valid: Tensor) -> None:
        """Restore the tensors unless `valid`, a bool on their device, is true."""
        for dtype, group in self._groups.items():
            keep, saved = valid.to(dtype), self._saved[dtype]
            foreach("mul_")(group, keep)
            foreach("mul_")(saved, 1 - keep)
            foreach("add_")(group, saved)


class GuardedStep:
    """One step of an optimizer that has no effect if its gradient isn't finite.

    On the CPU the gradient is removed, so that the optimizer skips its parameters. On a GPU the host doesn't wait for
    the result: parameters and the optimizer's state on the device are restored after the step; state on the host, such
    as Adam's step count, advances.

    Args:
        optimizer: Optimizer that is about to step.
        norm: Norm of its gradient. It is infinite where squares overflow, too, so that no second moment overflows.
    """

    def __init__(self, optimizer: Optimizer, norm: Tensor) -> None:
        self.valid = norm.isfinite()
        self._optimizer = optimizer
        self._snapshot: Snapshot | None = None
        if norm.device.type != "cpu":
            self.take_snapshot()
        elif not self.valid:
            optimizer.zero_grad()

    def take_snapshot(self) -> None:
        """Copy what the step may change."""
        parameters = (p for group in self._optimizer.param_groups for p in group["params"])
        self._parameters = [p for p in parameters if p.grad is not None]
        self._state = self._device_state()
        self._snapshot = Snapshot([*self._parameters, *self._state.values()])

    def finish(self) -> None:
        """Undo the step if its gradient wasn't finite."""
        if self._snapshot is None:
            return
        self._snapshot.restore_unless(self.valid)
        new = [tensor for key, tensor in self._device_state().items() if key not in self._state]
        for dtype, group in _as_integers(new).items():  # state that the first step creates starts at zero
            foreach("mul_")(group, self.valid.to(dtype))

    def _device_state(self) -> dict[tuple[int, str], Tensor]:
        return {
            (i, name): value
            for i, p in enumerate(self._parameters)
            for name, value in self._optimizer.state.get(p, {}).items()
            if isinstance(value, Tensor) and value.device == self.valid.device
        }


def _as_integers(tensors: Iterable[Tensor]) -> dict[torch.dtype, list[Tensor]]:
    """View tensors as integers, grouped by type.

    Multiplying the bits by 0 or 1 selects between tensors in a few kernels and removes NaN, which 0 * NaN wouldn't.
    """
    groups: dict[torch.dtype, list[Tensor]] = {}
    for tensor in {(tensor.data_ptr(), tensor.dtype): tensor for tensor in tensors}.values():
        bits = tensor.detach().view(_INTEGERS[tensor.element_size()])
        groups.setdefault(bits.dtype, []).append(bits)
    return groups
