"""Shards: the images of a data set in a few large files, in a folder or an object store, written by litdata.

Layout: `images/` has one sample per pair, the bytes of both image files; `names/` has one sample, the names of the
pairs by split as JSON. `Streaming` reads them.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from deblurlab.datasets.checks import inspect_item
from deblurlab.datasets.frame_store import Image
from deblurlab.datasets.listing import Item, Pair, Reference, image_file
from deblurlab.errors import UserError
from deblurlab.media.images import read_image
from deblurlab.runs.files import atomic_folder
from deblurlab.runs.storage import Bucket, parse_s3_address

SIDES = ("blurred", "sharp")
_SHARD_BYTES = 64 << 20


def write_shards(place: str, parts: Mapping[str, Sequence[Item]]) -> Iterator[int]:
    """Write pairs into shards; yield the number of pairs written so far. Image files are stored unchanged.

    A folder appears only when it is complete. In an object store the index of the names is written last, and nothing is
    read without it.

    Args:
        place: A new folder, or `s3://bucket/folder`.
        parts: Pairs by split: "train", "val" or "test/<name>".

    Raises:
        UserError: litdata isn't installed, there are no pairs or they aren't pairs of image files, `place` exists or
            can't be written, or an image can't be read.
    """
    import_litdata()
    if not any(parts.values()):
        raise UserError("there are no pairs to pack: choose a data set with pairs")
    return _write(_BucketTarget(place) if "://" in place else _FolderTarget(Path(place)), parts)


def _write(target: "_FolderTarget | _BucketTarget", parts: Mapping[str, Sequence[Item]]) -> Iterator[int]:
    total = 0
    with target as folder:
        shards = _open_writer(folder / "images")
        for pair in (pair for pairs in parts.values() for pair in pairs):
            files = [image_file(image) for image in pair.images]
            if not isinstance(pair, Pair) or not pair.references or None in files:
                raise UserError(f"{pair.name} isn't a pair of image files, and shards hold nothing else")
            if pair.extra_references:
                raise UserError(f"{pair.name} has several references, which shards can't store: train on its files")
            if (problem := inspect_item(pair, _read_file).problem) is not None:
                raise UserError(problem)
            # A list, because litdata may store a dict as an Arrow table.
            shards[total] = [file.read_bytes() for file in files if file is not None]
            target.store_finished_shards()
            total += 1
            yield total
        _close_writer(shards)
        names = _open_writer(folder / "names")
        names[0] = json.dumps({split: [pair.name for pair in pairs] for split, pairs in parts.items()})
        _close_writer(names)


def _read_file(reference: Reference) -> Image:
    file = image_file(reference)
    assert file is not None
    return read_image(file)


class _FolderTarget:
    """Context manager that yields the folder to write shards to; on success it becomes the target folder."""

    def __init__(self, folder: Path) -> None:
        if folder.exists():
            raise UserError(f"{folder} exists already: choose another folder")
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

    A complete shard is uploaded and deleted at once, the index files on success.
    """

    def __init__(self, address: str) -> None:
        if not parse_s3_address(address)[0]:
            raise UserError(
                f"{address}: shards are written to a folder or to s3://bucket/folder only; copy them from there"
            )
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


def _open_writer(folder: Path) -> Any:
    from litdata.streaming import Cache

    folder.mkdir()
    return Cache(str(folder), chunk_bytes=_SHARD_BYTES)


def _close_writer(shards: Any) -> None:
    shards.done()
    shards.merge(1)


def import_litdata() -> Any:
    """Return the module litdata.

    Raises:
        UserError: It isn't installed.
    """
    try:
        import litdata
    except ImportError as error:
        raise UserError("shards need litdata: pip install 'deblurlab[streaming]'") from error
    return litdata
