"""Unpickling of weights to plain data and descriptions of tensors. Nothing that a pickle names is imported or called.

The objects on the unpickler's stack are plain data and the classes of this module, none of which a pickle can change.
"""

import pickle
import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import torch
from torch import Tensor

from deblurlab.checkpoints.file_kinds import OtherFileError
from deblurlab.errors import printable

_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexDoubleStorage": torch.complex128, "ComplexFloatStorage": torch.complex64,
}  # fmt: skip
"""Element types of torch's storage classes; those of quantized tensors are missing."""
_OTHER_TENSORS = {
    "torch._utils._rebuild_qtensor": "quantized tensors: save floating-point ones, from dequantize(),",
    "torch._utils._rebuild_sparse_tensor": "sparse tensors: save dense ones, from to_dense(),",
    "torch._utils._rebuild_nested_tensor": "nested tensors: save dense ones, from to_padded_tensor(),",
}
"""Functions that rebuild tensors which no network here has, and the remedy."""
_VERSIONS = "_metadata"
"""Attribute of state dicts in which PyTorch keeps the version of each module's layout."""
_MAX_CLASSES = 1000
"""Maximum number of ignored classes: each takes about a kilobyte."""


class Storage(NamedTuple):
    """Bytes that tensors are views of."""

    key: str
    dtype: torch.dtype
    elements: int

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.elements * self.dtype.itemsize


class Ignored:
    """Object of a class that weights don't need: it accepts everything that a pickle does to it, and does nothing."""

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> "Ignored":
        """Return an object without state."""
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> "Ignored":
        """Return the object itself."""
        return self

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None:
        """Ignore an item."""

    extend = add = append


class _View(NamedTuple):
    """A tensor in a storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Function(NamedTuple):
    """Function that a pickle may call."""

    function: Callable[..., Any]

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)


class Unpickler(pickle.Unpickler):
    """Unpickler whose results are plain data, descriptions of tensors and `Ignored`.

    Args:
        file: Positioned at the start of the pickle.
        max_bytes: Maximum size of all storages together.
        ignore_objects: Read objects of other classes as `Ignored` instead of refusing the file.

    Raises:
        OtherFileError: The pickle holds something else than weights.
        ValueError: The pickle is malformed.
    """

    def __init__(self, file: IO[bytes], max_bytes: int, *, ignore_objects: bool) -> None:
        self._copies = _check_opcodes(file)
        super().__init__(file, encoding="utf-8", errors="replace")
        self._bytes_left, self._ignore_objects = max_bytes, ignore_objects
        self.storages: dict[str, Storage] = {}
        self._ignored: dict[str, type[Ignored]] = {}
        self._functions: dict[str, Callable[..., Any]] = {
            "collections.Counter": self._counter,
            "collections.OrderedDict": self._ordered_dict,
            "collections.defaultdict": self._default_dict,
            "torch.Size": self._size,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
            "torch._utils._rebuild_tensor": _rebuild_tensor,
            "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
            "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
        }

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name of the pickle stands for."""
        if (module, name) == ("torch.storage", "UntypedStorage"):
            return torch.uint8
        found = (_STORAGES.get(name) or vars(torch).get(name)) if module == "torch" else None
        if isinstance(found, torch.dtype):
            return found
        full_name = f"{module}.{name}"
        if (function := self._functions.get(full_name)) is not None:
            return _Function(function)
        if (other := _OTHER_TENSORS.get(full_name)) is not None:
            raise OtherFileError(f"it holds {other} with the original code")
        if not self._ignore_objects:
            name = printable(full_name, 100)
            raise OtherFileError(f"it names {name}, which no weights do: save its state_dict() with the original code")
        if full_name not in self._ignored:
            if len(self._ignored) == _MAX_CLASSES:
                raise ValueError(f"it names more than {_MAX_CLASSES} classes")
            self._ignored[full_name] = type(printable(full_name, 100), (Ignored,), {"__slots__": ()})
        return self._ignored[full_name]

    def persistent_load(self, pid: Any) -> Any:
        """Return the description of a storage."""
        if pid[0] == "module":  # the source code of a class beside the class, in files from torch before 1.6
            return pid[1]
        _, dtype, key, _, count, *view = pid
        if not isinstance(dtype, torch.dtype) or type(count) is not int or count < 0 or any(view):
            raise ValueError("it describes a storage that it can't have")
        storage = Storage(str(key), dtype, count)
        if (known := self.storages.setdefault(storage.key, storage)) is storage:
            self._bytes_left -= storage.nbytes
        if self._bytes_left < 0:
            raise ValueError("it claims more bytes than it has")
        if known.nbytes != storage.nbytes:
            raise ValueError(f"it describes storage {key} twice")
        return storage

    def _copy(self, items: Any) -> Any:
        """Return a container that is about to be copied. Calls may copy as many items as the pickle has bytes."""
        if not isinstance(items, (dict, list, tuple)):
            raise TypeError("it copies something that isn't a container")
        self._copies -= len(items)
        if self._copies < 0:
            raise ValueError("it copies more items than it has")
        return items

    def _counter(self, items: Any = ()) -> Counter[Any]:
        counter: Counter[Any] = Counter()
        dict.update(counter, self._copy(items))
        return counter

    def _ordered_dict(self, items: Any = ()) -> OrderedDict[Any, Any]:
        return OrderedDict(self._copy(items))

    def _default_dict(self, factory: Any = None, items: Any = ()) -> dict[Any, Any]:
        return dict(self._copy(items))

    def _size(self, items: Any = ()) -> torch.Size:
        return torch.Size(self._copy(items))


def build_tensors(content: Any, read: Callable[[Storage], Tensor]) -> Any:
    """Return unpickled content with tensors in place of their descriptions.

    Args:
        content: Result of an `Unpickler`.
        read: Return the bytes of a storage, `(n,)` of uint8. Equal storages must give the same tensor.
    """
    done: dict[int, Any] = {}  # by id: containers may share and contain each other

    def build(item: Any) -> Any:
        if id(item) in done:
            return done[id(item)]
        if isinstance(item, _View):
            elements = read(item.storage).view(item.dtype)
            done[id(item)] = elements.as_strided(item.size, item.stride, item.offset)
        elif isinstance(item, dict):
            done[id(item)] = copy = type(item)()
            for key, value in dict.items(item):
                copy[key] = build(value)
            if isinstance(metadata := getattr(item, _VERSIONS, None), dict):
                setattr(copy, _VERSIONS, build(metadata))
        elif isinstance(item, list):
            done[id(item)] = items = list(item)
            items[:] = map(build, item)
        elif isinstance(item, (_Function, Storage)):
            return Ignored()
        elif isinstance(item, tuple) and not isinstance(item, torch.Size):
            done[id(item)] = tuple(map(build, item))
        else:
            return item
        return done[id(item)]

    return build(content)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _View:
    if not isinstance(storage, Storage):
        raise TypeError("it describes a tensor without storage")
    return _View(storage, storage.dtype, offset, size, stride)


def _rebuild_tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, *others: Any) -> _View:
    if not isinstance(dtype := others[2], torch.dtype):  # after requires_grad and hooks
        raise TypeError("it describes a tensor without type")
    return _rebuild_tensor(storage, offset, size, stride)._replace(dtype=dtype)


def _check_opcodes(file: IO[bytes]) -> int:
    """Return the length of a pickle in bytes.

    The unpickler allocates what a length or an index claims, before it reads. Here truncated data raise an error, and
    indices of the memo must not exceed the number of operations.

    Raises:
        ValueError: The pickle is malformed.
    """
    start = file.tell()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise ValueError("it numbers more objects than it has")
    length = file.tell() - start
    file.seek(start)
    return length
