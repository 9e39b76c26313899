"""Writing shards: a data set's files in a few large ones, in a folder or an object store, by litdata."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from deblurlab.datasets.base import Pair
from deblurlab.datasets.checks import look_at
from deblurlab.errors import UserError
from deblurlab.runs.files import atomic_folder
from deblurlab.runs.storage import Bucket, parse_s3_address

SIDES = ("blurred", "sharp")
_SHARD = 64 << 20


def write_shards(place: str, parts: Mapping[str, Sequence[Pair]]) -> Iterator[int]:
    """Write the pairs of each part, "train", "val" or "test/<name>", into shards at `place`, a folder or
    `s3://bucket/folder`; yields the number of pairs that are done. Image files are stored as they are.

    In a folder the shards are there as a whole or not at all; in an object store the list of names, without which
    nothing is read, comes last.

    Raises:
        UserError: litdata isn't installed, there are no pairs, `place` is taken or can't be written, or an image can't
            be read.
    """
    litdata()
    if not any(parts.values()):
        raise UserError("there are no pairs to be packed")
    return _write(_BucketTarget(place) if "://" in place else _FolderTarget(Path(place)), parts)


def _write(target: "_FolderTarget | _BucketTarget", parts: Mapping[str, Sequence[Pair]]) -> Iterator[int]:
    total = 0
    with target as folder:
        shards = _writer(folder / "images")
        for pair in (pair for pairs in parts.values() for pair in pairs):
            if pair.extra_references:
                raise UserError(f"{pair.name} has several sharp images, which shards don't hold")
            if (look := look_at(pair)).complaint is not None:
                raise UserError(look.complaint)
            shards[total] = [getattr(pair, side).read_bytes() for side in SIDES]  # a dict may become an Arrow table
            target.store_finished_shards()
            total += 1
            yield total
        _close(shards)
        names = _writer(folder / "names")
        names[0] = json.dumps({split: [pair.name for pair in pairs] for split, pairs in parts.items()})
        _close(names)


class _FolderTarget:
    """Context manager that yields the folder to write shards to; on success it becomes the target folder."""

    def __init__(self, folder: Path) -> None:
        if folder.exists():
            raise UserError(f"{folder} is there already: choose another folder")
        self._folder, self._temporary = folder, atomic_folder(folder, unique=True)

    def __enter__(self) -> Path:
        try:
            return self._temporary.__enter__()
        except OSError as error:
            raise UserError(f"{self._folder} can't be written: {error.strerror}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.__exit__(kind, error, trace)

    def store_finished_shards(self) -> None:
        """Do nothing: the shards are stored already."""


class _BucketTarget:
    """Context manager that yields a temporary folder to write shards to.

    Shards are uploaded and deleted as soon as they are complete, the index files on success.
    """

    def __init__(self, address: str) -> None:
        if not parse_s3_address(address)[0]:
            raise UserError(f"{address}: shards are written to a folder or to s3://bucket/folder; copy them from there")
        self._address = address
        with self._errors():
            self._store = Bucket(address)
            if any(self._store.keys("names/")):
                raise UserError(f"{address} holds shards already: choose another place")

    def __enter__(self) -> Path:
        self._temporary = tempfile.TemporaryDirectory()
        return Path(self._temporary.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._temporary:
            if error is None:
                for pattern in ("*.bin", "images/index.json", "names/index.json"):
                    self._upload(pattern)

    def store_finished_shards(self) -> None:
        """Upload the shards that are complete and delete the local files."""
        self._upload("*.bin")

    def _upload(self, pattern: str) -> None:
        root = Path(self._temporary.name)
        for file in sorted(root.rglob(pattern)):
            with self._errors():
                self._store.put(file, file.relative_to(root).as_posix())
            file.unlink()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self._address} can't be written: {error}") from error


def _writer(folder: Path) -> Any:
    from litdata.streaming import Cache

    folder.mkdir()
    return Cache(str(folder), chunk_bytes=_SHARD)


def _close(shards: Any) -> None:
    shards.done()
    shards.merge(1)


def litdata() -> Any:
    """Return the module litdata.

    Raises:
        UserError: It isn't installed.
    """
    try:
        import litdata
    except ImportError as error:
        raise UserError("shards need litdata: pip install 'deblurlab[streaming]'") from error
    return litdata
