"""Networks of other projects that spandrel recognises from their weights."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from deblurlab.checkpoints.safe_load import has_storage_for
from deblurlab.errors import UserError, first_sentence, list_first

_FLOATING = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_CREATING = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange, torch.linspace}
"""Functions of torch that create tensors whose size their arguments give."""
_MIN_ELEMENTS = 1 << 24
"""Elements that a network may create besides its weights, such as tables of positions."""


class SpandrelNetwork(nn.Module):
    """Network of another project, with spandrel's padding and range of values.

    Args:
        descriptor: What spandrel returns for a state dict.
    """

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.network: nn.Module = descriptor.model
        self._call: Callable[[Tensor], Tensor] = descriptor
        if descriptor.size_requirements.multiple_of > 1:  # else the stride is unknown: the network pads by itself
            self.multiple_of: int = descriptor.size_requirements.multiple_of
        self.min_size: int = max(1, descriptor.size_requirements.minimum)

    def forward(self, blurred: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)` in [0, 1]; spandrel pads to squares or to a smallest side where a network needs it."""
        return self._call(blurred)


def load_with_spandrel(state: Mapping[str, Tensor], file: Path) -> nn.Module:
    """Return the network that a state dict belongs to.

    Args:
        state: State dict with the names of the original project.
        file: The file of the weights, for messages.

    Raises:
        UserError: spandrel isn't installed or doesn't recognise the network, or the network can't restore images.
    """
    remedy = f"deblurlab weights convert {file} --model NAME converts the weights of the models of deblurlab"
    unknown = f"{file} holds weights of an unknown network ({len(state)} tensors, {list_first(list(state), 1)})"
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise UserError(f"{unknown}: {remedy}; pip install 'deblurlab[spandrel]' knows more networks") from error
    if not has_storage_for(state.values()):
        raise UserError(f"{file} holds weights that are larger than their bytes")
    check_finite({name: value for name, value in state.items() if not _is_integer(value)}, file)
    try:
        with _memory_of(state), warnings.catch_warnings(action="ignore"):  # old functions of torch in constructors
            found = ModelLoader().load_from_state_dict(dict(state))
    except UnsupportedModelError as error:
        raise UserError(f"{unknown}: {remedy}") from error
    except Exception as error:  # any error of a constructor for unexpected shapes
        raise UserError(f"{unknown}: spandrel can't build it ({first_sentence(error)}); {remedy}") from error
    name = found.architecture.name
    if not isinstance(found, ImageModelDescriptor) or (found.input_channels, found.output_channels) != (3, 3):
        raise UserError(f"{file} holds {name} for other inputs than RGB images, which deblurlab restores")
    if found.scale != 1:
        raise UserError(f"{file} holds {name} for {found.scale}x super-resolution: deblurlab keeps the size of images")
    return SpandrelNetwork(found).eval()


def check_finite(weights: Mapping[str, Tensor], file: Path) -> None:
    """Raise UserError unless all weights are finite floating-point numbers of 16, 32 or 64 bits."""
    if other := {name: value for name, value in weights.items() if value.dtype not in _FLOATING}:
        kinds = sorted({str(value.dtype).removeprefix("torch.") for value in other.values()})
        raise UserError(
            f"{file} holds weights of the type {', '.join(kinds)} ({list_first(sorted(other))}): only floating-point "
            f"numbers of 16, 32 or 64 bits can be used, not quantized or complex ones"
        )
    if broken := sorted(name for name, value in weights.items() if not value.isfinite().all()):
        raise UserError(
            f"{file} holds NaN or infinity ({list_first(broken)}): its training diverged, or it is damaged; use an "
            f"earlier checkpoint or download it again"
        )


def _is_integer(value: Tensor) -> bool:
    """Return whether a tensor is a counter, an index or a mask."""
    return value.dtype in (torch.int64, torch.int32, torch.bool)


@contextmanager
def _memory_of(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Context manager within which a network larger than its weights raises ValueError, before it takes memory.

    spandrel derives the sizes of all layers from the shapes of a few weights.
    """
    elements = sum(value.numel() for value in state.values())
    count, total = 0, 0

    def count_parameter(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count, total
        count, total = count + 1, total + (0 if parameter is None else parameter.numel())
        if count > len(state) or total > elements:
            raise ValueError("its shapes describe a larger network than there are weights for")

    handle = register_module_parameter_registration_hook(count_parameter)
    try:
        with _LargestTensor(max(elements, _MIN_ELEMENTS)):
            yield
    finally:
        handle.remove()


class _LargestTensor(TorchFunctionMode):
    """Limit of the number of elements of tensors that functions create."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self._elements = elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _CREATING and func(*args, **{**kwargs, "device": "meta"}).numel() > self._elements:
            raise ValueError("its shapes describe a larger network than there are weights for")
        return func(*args, **kwargs)
