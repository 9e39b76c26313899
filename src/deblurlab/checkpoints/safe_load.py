"""Safe loading of untrusted weight files. Never executes code; memory is bounded by the file's size."""

import io
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from deblurlab.checkpoints.file_kinds import AGAIN, OtherFileError, describe_folder, describe_other_file
from deblurlab.checkpoints.unpickle import Storage, Unpickler, build_tensors
from deblurlab.errors import first_sentence

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
"""First two pickles of a file in the format before torch 1.6."""
_CHUNK = 1 << 20
"""Bytes that are copied at once."""
_MAX_SHARING = 4
"""Maximum ratio of the tensors' bytes to the bytes of their storages: weights may share storage."""
_MAX_HEADER = 100_000_000
"""Maximum size of the header of safetensors, in the format's specification."""


def load_tensors(path: Path, *, ignore_objects: bool = False) -> Any:
    """Load tensors and plain data to the CPU.

    The file is one of any version of `torch.save` or of safetensors.

    Args:
        path: The file.
        ignore_objects: Replace objects of other classes by `Ignored`, without importing their class, instead of
            refusing the file.

    Raises:
        OSError: The file can't be read.
        MemoryError: There isn't enough memory.
        ValueError: The file is damaged or something else, would take more memory than its size, or names other classes.
            The message is one line with the remedy.
    """
    if path.is_dir():
        raise OtherFileError(describe_folder(path))
    with path.open("rb") as file, damage_is_named():
        return _load(file, path, ignore_objects)


@contextmanager
def damage_is_named() -> Iterator[None]:
    """Raise any error of a parser for a damaged or hostile file as a ValueError with the remedy."""
    try:
        yield
    except (OSError, MemoryError, OtherFileError):
        raise
    except Exception as error:
        raise ValueError(f"it is damaged ({first_sentence(error)}): {AGAIN}") from error


def open_archive(file: IO[bytes]) -> zipfile.ZipFile:
    """Return the ZIP archive in a file that begins like one.

    Raises:
        OtherFileError: Its end, which has the list of records, is missing.
    """
    if not zipfile.is_zipfile(file):
        raise OtherFileError(f"it is incomplete: {AGAIN}")
    return zipfile.ZipFile(file)


def _load(file: IO[bytes], path: Path, ignore_objects: bool) -> Any:
    size, head = path.stat().st_size, file.read(512)
    if (other := describe_other_file(path, head)) is not None:
        raise OtherFileError(other)
    file.seek(0)
    if head[:4] == b"PK\x03\x04":
        with open_archive(file) as archive:
            return _load_archive(archive, size, ignore_objects)
    if head[8:9] == b"{" and (length := int.from_bytes(head[:8], "little")) <= _MAX_HEADER:
        if length > size:
            raise OtherFileError(f"it is incomplete: {AGAIN}")
        return safetensors.torch.load_file(path)
    if head[:1] != b"\x80":
        raise OtherFileError(f"its format is unknown: give a file of torch.save or safetensors; if it is one, {AGAIN}")
    return _load_legacy(file, size, ignore_objects)


def has_storage_for(weights: Iterable[Tensor]) -> bool:
    """Return whether tensors have about as many bytes in storage as their shapes need.

    With stride 0, a storage of a few bytes can represent a tensor of any size, which a copy would allocate.
    """
    claimed, storages = 0, {}
    for tensor in weights:
        claimed += tensor.numel() * tensor.element_size()
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return claimed <= _MAX_SHARING * sum(storages.values())


def _load_archive(archive: zipfile.ZipFile, size: int, ignore_objects: bool) -> Any:
    """Load an archive of torch. zipfile checks the checksum of each record that is read."""
    records = {record.filename: record for record in archive.infolist()}
    pickles = [name for name in records if name.rpartition("/")[2].casefold() == "data.pkl"]
    if not pickles:
        if records and all(name.endswith(".npy") for name in records):
            raise OtherFileError("it is an archive of numpy.savez: give it the suffix .npz")
        raise OtherFileError("it is a ZIP archive, but none of weights: unpack it, and give the file in it")
    if any(name.endswith("/constants.pkl") for name in records):
        raise OtherFileError("it is a TorchScript program: save its state_dict() with the original code")
    if len({name.casefold() for name in records}) < len(archive.infolist()):
        raise ValueError("two of its records have the same name")
    if any(record.compress_type != zipfile.ZIP_STORED for record in records.values()):
        raise OtherFileError("its records are compressed, which torch.save never does: use the original file")
    if sum(record.file_size for record in records.values()) > size:
        raise ValueError("its records overlap")
    return _load_torch_archive(archive, pickles[0], size, ignore_objects)


def _load_torch_archive(archive: zipfile.ZipFile, pickled: str, size: int, ignore_objects: bool) -> Any:
    folder = pickled[: -len("data.pkl")]
    if folder + "byteorder" in archive.namelist() and archive.read(folder + "byteorder") != b"little":
        raise OtherFileError("its numbers are big-endian: save it on a little-endian machine")
    unpickler = Unpickler(io.BytesIO(archive.read(pickled)), size, ignore_objects=ignore_objects)
    content, loaded = unpickler.load(), {}

    def read(storage: Storage) -> Tensor:
        if storage.key not in loaded:
            record = archive.getinfo(f"{folder}data/{storage.key}")
            if record.file_size != storage.nbytes:
                raise ValueError("it claims more bytes than it has")
            with archive.open(record) as source:
                loaded[storage.key] = _read_bytes(source, storage.nbytes)
        return loaded[storage.key]

    return build_tensors(content, read)


def _load_legacy(file: IO[bytes], size: int, ignore_objects: bool) -> Any:
    """Load a file in the format before torch 1.6: pickles, then the bytes of the storages that the last one lists."""
    if Unpickler(file, 0, ignore_objects=ignore_objects).load() != _LEGACY_MAGIC:
        raise OtherFileError("it is a pickle, but none that torch.save wrote: save its tensors with torch.save")
    protocol, system = (Unpickler(file, 0, ignore_objects=False).load() for _ in range(2))
    if protocol != _LEGACY_PROTOCOL:
        raise OtherFileError(f"its format has the unknown version {protocol!r:.20}: save it with a current torch")
    if not system["little_endian"]:
        raise OtherFileError("its numbers are big-endian: save it on a little-endian machine")
    unpickler = Unpickler(file, size, ignore_objects=ignore_objects)
    content, loaded = unpickler.load(), {}
    for key in Unpickler(file, 0, ignore_objects=False).load():
        storage = unpickler.storages[key]
        if struct.unpack("<q", file.read(8))[0] != storage.elements:
            raise ValueError(f"it describes storage {key} twice")
        loaded[key] = _read_bytes(file, storage.nbytes)
    return build_tensors(content, lambda storage: loaded[storage.key])


def _read_bytes(source: IO[bytes], count: int) -> Tensor:
    """Return bytes as `(count,)`."""
    data = torch.empty(count, dtype=torch.uint8)
    target, done = data.numpy(), 0
    while done < count:
        chunk = source.read(min(count - done, _CHUNK))
        if not chunk:
            raise ValueError("it is truncated")
        target[done : done + len(chunk)] = np.frombuffer(chunk, np.uint8)
        done += len(chunk)
    return data
