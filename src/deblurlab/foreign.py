"""Files from strangers as plain data: reading one runs nothing, and takes memory in proportion to its size."""

import json
import pickletools
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

import torch

_PICKLES = 5
"""That a file of torch's before 1.6 begins with."""


def parse_json(text: str) -> Any:
    """What JSON says.

    Raises:
        ValueError: It isn't JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def stays_inside(name: str) -> bool:
    """Whether a path leads nowhere but below the folder that it is relative to, links apart."""
    path = PurePosixPath(name)
    return name not in ("", ".") and "\0" not in name and not path.is_absolute() and ".." not in path.parts


def lies_inside(file: Path, folder: Path) -> bool:
    """Whether a file lies below a folder when links are followed."""
    try:
        return file.resolve().is_relative_to(folder.resolve())
    except ValueError:  # no file has such a name
        return False


def load_tensors(path: Path) -> Any:
    """What `torch.save` wrote, now or in years past, on the CPU: tensors and plain data.

    Raises:
        Exception: Whatever a damaged or hostile file makes torch raise; ValueError if it would inflate.
    """
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # as torch tells them apart
        file.seek(0)
        if zipped:
            with zipfile.ZipFile(file) as archive:
                _see_that_nothing_inflates(archive, path.stat().st_size)
                if (damaged := archive.testzip()) is not None:  # torch writes checksums and doesn't look at them
                    raise ValueError(f"the checksum of its record {damaged} is another: the file is damaged")
                for name in archive.namelist():
                    if name.endswith(".pkl"):
                        with archive.open(name) as pickled:
                            _see_that_nothing_is_made_up(pickled)
        else:
            for _ in range(_PICKLES):
                _see_that_nothing_is_made_up(file)
    return torch.load(path, map_location="cpu", weights_only=True)


def _see_that_nothing_inflates(archive: zipfile.ZipFile, size: int) -> None:
    """torch writes records as they are, one after the other."""
    records = archive.infolist()
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        raise ValueError("its records are compressed, which torch's never are")
    if sum(record.file_size for record in records) > size:
        raise ValueError("its records overlap")


def _see_that_nothing_is_made_up(pickled: IO[bytes]) -> None:
    """`bytearray(10**10)` is ten gigabytes in thirty bytes, and what torch takes for plain data."""
    for opcode, argument, _ in pickletools.genops(pickled):
        if opcode.name == "GLOBAL" and str(argument).endswith(" bytearray"):
            raise ValueError("it holds a bytearray, which no weights are")
