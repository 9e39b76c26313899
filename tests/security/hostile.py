"""Helpers for tests with hostile files."""

import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Payload:
    """Object whose pickle creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        return os.open, (str(self._canary), os.O_CREAT)


class Call:
    """Object whose pickle calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> Any:
        return self._call


@contextmanager
def bounded(seconds: float = 20, mebibytes: float = 200) -> Iterator[None]:
    """Assert that the block takes less time and less additional peak memory."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    start, before = time.perf_counter(), _peak_memory()
    yield
    assert time.perf_counter() - start < seconds
    assert _peak_memory() - before < mebibytes


def _peak_memory() -> float:
    """Return the peak memory of this process in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def png(path: Path, width: int, height: int, *, interlaced: bool = False) -> Path:
    """Write a PNG whose header claims a size that its data don't have."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path
