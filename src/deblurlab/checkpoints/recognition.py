"""Networks of other projects that spandrel recognises from their weights."""

import re
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
_DIFFERENCES = {
    "missing": r'Missing key\(s\) in state_dict: "(.*)"\.',
    "unexpected": r'Unexpected key\(s\) in state_dict: "(.*)"\.',
    "of another shape": r"size mismatch for (.*?): copying a param",
}
"""What torch says of a state dict that a network doesn't have."""
_MIN_ELEMENTS = 1 << 24
"""Elements that a network may create besides its weights, such as tables of positions."""


class _TooLargeError(ValueError):
    """Network with more parameters or larger tensors than there are weights for."""


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
        from spandrel import MAIN_REGISTRY, ImageModelDescriptor, canonicalize_state_dict
    except ImportError as error:
        raise UserError(f"{unknown}: {remedy}; pip install 'deblurlab[spandrel]' knows more networks") from error
    if not has_storage_for(state.values()):
        raise UserError(f"{file} holds weights that are larger than their bytes")
    check_finite({name: value for name, value in state.items() if not _is_integer(value)}, file)
    try:
        weights = canonicalize_state_dict(dict(state))
        known = next((known for known in MAIN_REGISTRY.architectures("detection") if known.detect(weights)), None)
    except Exception as error:  # any error for unexpected names and shapes
        raise UserError(f"{unknown}: {remedy} ({first_sentence(error)})") from error
    if known is None:
        raise UserError(f"{unknown}: {remedy}")
    name = known.architecture.name
    try:
        found = _build(known.architecture.load, weights, len(weights))
    except Exception as error:  # as above
        reason = _differences(known.architecture.load, weights, error) or first_sentence(error)
        raise UserError(
            f"{file} holds weights like those of {name}, but spandrel can't build it; {reason}: correct the weights' "
            f"names and shapes; {remedy}"
        ) from error
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


def _build(load: Callable[[dict[str, Tensor]], Any], state: Mapping[str, Tensor], max_parameters: int) -> Any:
    """Return what a function of spandrel loads. Messages for developers, of old functions of torch, are silenced."""
    with _memory_of(state, max_parameters), warnings.catch_warnings(action="ignore"):
        return load(dict(state))


def _differences(load: Callable[[dict[str, Tensor]], Any], state: Mapping[str, Tensor], error: Exception) -> str:
    """Return the weights that a network misses, doesn't have, or has in another shape; empty if unknown.

    Args:
        load: Function of spandrel for this network.
        state: The weights.
        error: What `load` raised. A network with more parameters is built again without memory for them.
    """
    if (named := _named_differences(error)) or not isinstance(error, _TooLargeError):
        return named
    try:
        with torch.device("meta"):
            _build(load, state, 2 * len(state))
    except Exception as without_memory:  # also of constructors that compute with their weights
        return _named_differences(without_memory)
    return ""


def _named_differences(error: Exception) -> str:
    """Return what an error of `load_state_dict` or of a look-up says; empty if it is another one."""
    if isinstance(error, KeyError):
        return f"missing: {list_first([str(key) for key in error.args], 1)}"
    groups = {kind: re.findall(pattern, str(error)) for kind, pattern in _DIFFERENCES.items()}
    names = {kind: [name for group in found for name in group.split('", "')] for kind, found in groups.items()}
    return "; ".join(f"{kind}: {list_first(found)}" for kind, found in names.items() if found)


def _is_integer(value: Tensor) -> bool:
    """Return whether a tensor is a counter, an index or a mask."""
    return value.dtype in (torch.int64, torch.int32, torch.bool)


@contextmanager
def _memory_of(state: Mapping[str, Tensor], max_parameters: int) -> Iterator[None]:
    """Context manager within which a network larger than its weights raises _TooLargeError, before it takes memory.

    spandrel derives the sizes of all layers from the shapes of a few weights.

    Args:
        state: The weights.
        max_parameters: Maximum number of parameters. On the device "meta" only their number takes memory.
    """
    elements = sum(value.numel() for value in state.values())
    count, total = 0, 0

    def count_parameter(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count, total
        count, total = count + 1, total + (0 if parameter is None or parameter.is_meta else parameter.numel())
        if count > max_parameters or total > elements:
            raise _TooLargeError("its shapes describe a larger network than there are weights for")

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
            raise _TooLargeError("its shapes describe a larger network than there are weights for")
        return func(*args, **kwargs)
