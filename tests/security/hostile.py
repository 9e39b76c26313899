"""What the tests of hostile files share."""

import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Payload:
    """Pickled, it makes whoever unpickles it write a file."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        return os.open, (str(self._canary), os.O_CREAT)


class Call:
    """Pickled, it makes whoever unpickles it call a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@contextmanager
def bounded(seconds: float = 20, mebibytes: float = 200) -> Iterator[None]:
    """What is done meanwhile takes no longer, and at no moment so much more memory."""
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark of memory is the present one
    begun, before = time.perf_counter(), _highest()
    yield
    assert time.perf_counter() - begun < seconds
    assert _highest() - before < mebibytes


def _highest() -> float:
    """Mebibytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def png(path: Path, width: int, height: int, *, interlaced: bool = False) -> Path:
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path
