"""Files from strangers as plain data: reading one runs nothing, and takes memory in proportion to its size."""

import pickletools
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_PICKLES = 5
"""That a file of torch's before 1.6 begins with."""
_NAMES = {
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch.storage UntypedStorage",
}
"""What pickles of tensors and plain data name, beside storages and types of numbers."""
_SHARED = 4
"""How often weights may stand for the same bytes, on average."""


def load_tensors(path: Path) -> Any:
    """What `torch.save` wrote, now or in years past, on the CPU: tensors and plain data.

    Raises:
        OSError: The file can't be read.
        Exception: Whatever a damaged or hostile file makes torch raise; ValueError if it would inflate.
    """
    import torch

    size = path.stat().st_size
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # as torch tells them apart
        file.seek(0)
        if zipped:
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive, file, size)
                for name in archive.namelist():
                    if name.casefold().endswith(".pkl"):  # torch finds its records whatever their case
                        with archive.open(name) as pickled:
                            _check_pickle(pickled)
        else:
            for _ in range(_PICKLES):
                _check_pickle(file)
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
    if sum(_storages(content).values()) > size:  # of the old format, where torch takes a file's word for it
        raise ValueError("it claims more bytes than it has")
    return content


def has_storage_for(weights: Iterable["Tensor"]) -> bool:
    """Whether weights have storages of their own size, or nearly: a few bytes can stand for a tensor of any size."""
    claimed, storages = 0, {}
    for tensor in weights:
        claimed += tensor.numel() * tensor.element_size()
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return claimed <= _SHARED * sum(storages.values())


def _storages(content: Any) -> dict[int, int]:
    """The sizes in bytes of all storages of tensors in plain data, by their addresses; each container is looked into
    once, however often it is contained."""
    import torch

    sizes, seen, left = {}, set(), [content]
    while left:
        one = left.pop()
        if isinstance(one, torch.Tensor):
            storage = one.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        elif isinstance(one, (dict, list, tuple, set)) and id(one) not in seen:
            seen.add(id(one))
            left += one.values() if isinstance(one, dict) else one
    return sizes


def _check_archive(archive: zipfile.ZipFile, file: IO[bytes], size: int) -> None:
    """torch writes records as they are, one after the other, with checksums that it doesn't look at."""
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, which torch's never are")
    if len({record.filename.casefold() for record in records}) < len(records):
        raise ValueError("two of its records have the same name")
    if sum(record.file_size for record in records) > size:
        raise ValueError("its records overlap")
    if any(place not in (archive.start_dir, 0xFFFFFFFF) for place in _directories(file, size)):
        raise ValueError("it has several directories")
    if (damaged := archive.testzip()) is not None:
        raise ValueError(f"the checksum of its record {damaged} is another: the file is damaged")


def _directories(file: IO[bytes], size: int) -> list[int]:
    """Where the directory of an archive is, as each of its end records has it; readers differ in which they believe."""
    file.seek(size - 42)
    locator, end = file.read(20), file.read(22)
    if end[:4] != b"PK\x05\x06":
        raise ValueError("it doesn't end as an archive of torch's does")
    places = [struct.unpack("<L", end[16:20])[0]]
    if locator[:4] == b"PK\x06\x07":
        file.seek(struct.unpack("<Q", locator[8:16])[0])
        places.append(struct.unpack("<Q", file.read(56)[48:56])[0])
    return places


def _check_pickle(pickled: IO[bytes]) -> None:
    """What torch takes for plain data includes `bytearray(10**10)`, codecs and conversions: gigabytes in few bytes."""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "STACK_GLOBAL" or (opcode.name == "GLOBAL" and not _is_plain(str(argument))):
            raise ValueError(f"it names {argument or 'things'}, which no weights do")


def _is_plain(name: str) -> bool:
    import torch

    module, _, what = name.partition(" ")
    kind = module == "torch" and (what.endswith("Storage") or isinstance(getattr(torch, what, None), torch.dtype))
    return kind or name in _NAMES
