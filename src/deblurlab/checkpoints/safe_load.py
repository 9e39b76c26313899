"""Safe loading of untrusted weight files. Never executes code; memory is bounded by the file's size."""

import pickletools
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

_LEGACY_PICKLES = 5
"""Number of pickles at the start of a file in the format before torch 1.6."""
_ALLOWED_NAMES = {
    "collections Counter",
    "collections OrderedDict",
    "torch Size",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_tensor_v3",
    "torch._utils _rebuild_parameter",
    "torch.storage UntypedStorage",
}
"""Globals in pickles of tensors and plain data, besides storage classes and dtypes."""
_MAX_SHARING = 4
"""Maximum ratio of the tensors' bytes to the bytes of their storages: weights may share storage."""


def load_tensors(path: Path) -> Any:
    """Load a file that any version of `torch.save` wrote to the CPU: tensors and plain data only.

    Raises:
        OSError: The file can't be read.
        ValueError: The file would take more memory than its size, or names globals that weights don't need.
        Exception: Any other error of `torch.load` for a damaged or hostile file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # the test that torch uses
        file.seek(0)
        if zipped:
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive, file, size)
                for name in archive.namelist():
                    if name.casefold().endswith(".pkl"):  # torch ignores the case of record names
                        with archive.open(name) as pickled:
                            _check_pickle(pickled)
        else:
            for _ in range(_LEGACY_PICKLES):
                _check_pickle(file)
        file.seek(0)
        content = torch.load(file, map_location="cpu", weights_only=True)
    if sum(_storages(content).values()) > size:  # torch doesn't check the sizes in legacy files
        raise ValueError("it claims more bytes than it has")
    return content


def has_storage_for(weights: Iterable[Tensor]) -> bool:
    """Return whether tensors have about as many bytes in storage as their shapes need.

    With stride 0, a storage of a few bytes can represent a tensor of any size, which a copy would allocate.
    """
    claimed, storages = 0, {}
    for tensor in weights:
        claimed += tensor.numel() * tensor.element_size()
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return claimed <= _MAX_SHARING * sum(storages.values())


def _storages(content: Any) -> dict[int, int]:
    """Return the sizes in bytes of all storages in nested containers, by address. Each container is visited once."""
    sizes, seen, left = {}, set(), [content]
    while left:
        item = left.pop()
        if isinstance(item, Tensor):
            storage = item.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, (dict, list, tuple, set)) and id(item) not in seen:
            seen.add(id(item))
            left += item.values() if isinstance(item, dict) else item
    return sizes


def _check_archive(archive: zipfile.ZipFile, file: IO[bytes], size: int) -> None:
    """Raise ValueError unless the archive's records are uncompressed, disjoint, distinct and have right checksums.

    torch writes records this way, but doesn't check them when it reads.
    """
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, which torch's never are")
    if len({record.filename.casefold() for record in records}) < len(records):
        raise ValueError("two of its records have the same name")
    if sum(record.file_size for record in records) > size:
        raise ValueError("its records overlap")
    if any(offset not in (archive.start_dir, 0xFFFFFFFF) for offset in _directory_offsets(file, size)):
        raise ValueError("it has several directories")
    if (damaged := archive.testzip()) is not None:
        raise ValueError(f"the checksum of its record {damaged} is wrong: the file is damaged")


def _directory_offsets(file: IO[bytes], size: int) -> list[int]:
    """Return the directory's offset according to each end record. Readers differ in which record they use."""
    file.seek(size - 42)
    locator, end = file.read(20), file.read(22)
    if end[:4] != b"PK\x05\x06":
        raise ValueError("it doesn't end as torch's archives do")
    offsets = [struct.unpack("<L", end[16:20])[0]]
    if locator[:4] == b"PK\x06\x07":
        file.seek(struct.unpack("<Q", locator[8:16])[0])
        offsets.append(struct.unpack("<Q", file.read(56)[48:56])[0])
    return offsets


def _check_pickle(pickled: IO[bytes]) -> None:
    """Raise ValueError if a pickle names other globals than weights need.

    `weights_only=True` also allows `bytearray(10**10)`, codecs and conversions: gigabytes in a few bytes.
    """
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "STACK_GLOBAL" or (opcode.name == "GLOBAL" and not _is_allowed(str(argument))):
            raise ValueError(f"it names {argument or 'things'}, which no weights do")


def _is_allowed(name: str) -> bool:
    module, _, attribute = name.partition(" ")
    is_torch_type = module == "torch" and (
        attribute.endswith("Storage") or isinstance(getattr(torch, attribute, None), torch.dtype)
    )
    return is_torch_type or name in _ALLOWED_NAMES
