"""Replacement of a part of a file, without holding the file in memory."""

import shutil
from pathlib import Path


def replace_bytes(path: Path, start: int, end: int, content: bytes, tail: bytes = b"") -> None:
    """Replace the bytes from `start` to `end` of a file by `content`, and append `tail`."""
    copy = path.with_name(path.name + ".tagged")
    try:
        with path.open("rb") as old, copy.open("wb") as new:
            new.write(old.read(start))
            new.write(content)
            old.seek(end)
            shutil.copyfileobj(old, new, 1 << 20)
            new.write(tail)
        copy.replace(path)
    finally:
        copy.unlink(missing_ok=True)
