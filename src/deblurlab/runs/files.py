"""Atomic file writes: a file or folder gets its name only when it is complete."""

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Literal, overload
from uuid import uuid4

_INFINITY = re.compile(r'^(?P<before> *(?:"(?:[^"\\]|\\.)*": )?-?)Infinity(?=,?$)', re.MULTILINE)
"""Infinity as a value in indented JSON: each value has a line of its own."""


@contextmanager
def atomic_path(path: Path, *, unique: bool = False, fsync: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends, delete it if the block raises.

    Args:
        path: File to create or replace.
        unique: Use a random name that keeps the suffix: for files that several processes may write at once, and for
            encoders that choose a format by the suffix. Otherwise `.<name>.partial`, which replaces a
            leftover `.partial` file of an interrupted write.
        fsync: Flush the content to the disk before the file is renamed, so that it is complete after a power failure.
    """
    temporary = _temporary(path, path.suffix, unique=unique)
    temporary.unlink(missing_ok=True)  # a link there must not be followed
    try:
        yield temporary
        if fsync:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@overload
def atomic_write(
    path: Path, mode: Literal["w"] = "w", *, newline: str | None = None, unique: bool = False, fsync: bool = True
) -> AbstractContextManager[IO[str]]: ...
@overload
def atomic_write(
    path: Path, mode: Literal["wb"], *, unique: bool = False, fsync: bool = True
) -> AbstractContextManager[IO[bytes]]: ...
@contextmanager
def atomic_write(
    path: Path, mode: str = "w", *, newline: str | None = None, unique: bool = False, fsync: bool = True
) -> Iterator[IO[Any]]:
    """Yield an open file whose content replaces `path` when the block ends; see `atomic_path`."""
    with atomic_path(path, unique=unique, fsync=False) as temporary, temporary.open(mode, newline=newline) as file:
        yield file
        file.flush()
        if fsync:
            os.fsync(file.fileno())


@contextmanager
def atomic_folder(folder: Path, *, unique: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder beside `folder`; rename it when the block ends, delete it if the block raises.

    Args:
        folder: Folder to create. It must not exist yet.
        unique: Use a random temporary name. Otherwise `.<name>.partial`, which replaces a leftover `.partial` folder
            of an interrupted write.
    """
    temporary = _temporary(folder, "", unique=unique)
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as file:
        file.write(text)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically. NaN becomes null; infinity becomes 1e999, which parsers read as infinity."""
    text = json.dumps(_without_nan(content), indent=2)
    write_text(path, _INFINITY.sub(r"\g<before>1e999", text) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same columns to a CSV file atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _temporary(path: Path, suffix: str, *, unique: bool) -> Path:
    return path.with_name(f".{uuid4().hex}.partial{suffix}" if unique else f".{path.name}.partial")


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value else None
    if isinstance(value, Mapping):
        return {key: _without_nan(v) for key, v in value.items()}
    return [_without_nan(v) for v in value] if isinstance(value, (list, tuple)) else value
