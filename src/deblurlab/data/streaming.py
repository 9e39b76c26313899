"""Data sets larger than a disk: shards in a folder or an object store, read sample by sample through litdata."""

import io
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deblurlab.data.checking import look_at
from deblurlab.data.frames import Image, Reader
from deblurlab.data.images import decode_image
from deblurlab.data.pairs import Pair
from deblurlab.data.sets import PairSet
from deblurlab.errors import UserError, reason

if TYPE_CHECKING:
    from litdata import StreamingDataset

_SHARD = 64 << 20
_SIDES = ("blurred", "sharp")


class Streaming(PairSet):
    """Shards that `write_shards` wrote, at `root`: a folder, or whatever address litdata reads (`s3://bucket/folder`,
    with the endpoint and the credentials of the usual `AWS_...` variables).

    Nothing is kept on disk: each pair is asked for by itself, first where its bytes are, then for them. So samples
    come in the same keyed order as those of any other set, and a resumed training goes on with the very next one.

    Raises:
        UserError: litdata isn't installed, or `root` holds no whole set of shards or can't be reached.
    """

    def __init__(self, *, root: str) -> None:
        self._place = str(root).rstrip("/")
        super().__init__(root=self._place, store="off")

    def prepare(self) -> None:
        _ = self._pairs

    def train(self) -> list[Pair]:
        return self._pairs.get("train", [])

    def val(self) -> list[Pair]:
        return self._pairs.get("val", [])

    def tests(self) -> dict[str, list[Pair]]:
        return {name.partition("/")[2]: pairs for name, pairs in self._pairs.items() if name.startswith("test/")}

    @property
    def on_disk(self) -> bool:
        return False

    def readers(self) -> dict[Path, Reader]:
        return {self.root: _ShardReader(self._place)}

    @cached_property
    def _pairs(self) -> dict[str, list[Pair]]:
        """By split. Their paths end in the number of the sample and its side, for the reader."""
        try:
            names = json.loads(_open(f"{self._place}/names")[0]["names"])
        except UserError:
            raise
        except Exception as error:  # whatever litdata, its cloud client or the network make of it
            raise UserError(
                f"data.root={self._place} holds no shards or can't be reached: {reason(error)}; `deblurlab data pack "
                f"<set> <root> --streaming OUT` writes them"
            ) from error
        found: dict[str, list[Pair]] = {}
        numbers = map(str, itertools.count())
        for split, listed in names.items():
            for name in listed:
                place = self.root / next(numbers)
                found.setdefault(split, []).append(Pair(name, place / "blurred", place / "sharp"))
        return found


class _ShardReader:
    """Reads images by number and side; the two of a pair in succession are read at once."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._shards: Any = None
        self._last: tuple[int, dict[str, bytes]] = (-1, {})

    def __call__(self, path: Path) -> Image:
        """
        Raises:
            UserError: The sample can't be read.
        """
        number = int(path.parent.name)
        if self._last[0] != number:
            try:
                if self._shards is None:
                    self._shards = _open(f"{self._place}/images")
                self._last = number, self._shards[number]
            except Exception as error:  # whatever litdata, its cloud client or the network make of it
                raise UserError(
                    f"data.root={self._place}: sample {number} can't be read: {reason(error)}; the same command goes "
                    f"on once it can; damaged shards must be packed again"
                ) from error
        return decode_image(io.BytesIO(self._last[1][path.name]), f"{self._place}, sample {number}, {path.name}")

    def __getstate__(self) -> dict[str, Any]:
        return {"_place": self._place, "_shards": None, "_last": (-1, {})}  # a worker has a connection of its own


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
    return _write(_Bucket(place) if "://" in place else _Folder(Path(place)), parts)


def _write(target: "_Folder | _Bucket", parts: Mapping[str, Sequence[Pair]]) -> Iterator[int]:
    total = 0
    with target as scratch:
        shards = _writer(scratch / "images")
        for pair in (pair for pairs in parts.values() for pair in pairs):
            if pair.others:
                raise UserError(f"{pair.name} has several sharp images, which shards don't hold")
            if (look := look_at(pair)).complaint is not None:
                raise UserError(look.complaint)
            shards[total] = {side: getattr(pair, side).read_bytes() for side in _SIDES}
            target.take()
            total += 1
            yield total
        _close(shards)
        names = _writer(scratch / "names")
        names[0] = {"names": json.dumps({split: [pair.name for pair in pairs] for split, pairs in parts.items()})}
        _close(names)
        target.finish()


class _Folder:
    """A folder as the place for shards, which are written beside it."""

    def __init__(self, folder: Path) -> None:
        if folder.exists():
            raise UserError(f"{folder} is there already: choose another folder")
        self._folder, self._partial = folder, folder.with_name(f".{folder.name}.{os.getpid()}.partial")

    def __enter__(self) -> Path:
        try:
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"{self._folder} can't be written: {error.strerror}") from error
        return self._partial

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)

    def take(self) -> None:
        """Shards stay where they are written."""

    def finish(self) -> None:
        self._partial.rename(self._folder)


class _Bucket:
    """An S3 bucket, or one of a store that speaks S3. Shards leave this machine as soon as they are finished."""

    def __init__(self, address: str) -> None:
        import boto3

        scheme, _, rest = address.partition("://")
        self._bucket, _, folder = rest.strip("/").partition("/")
        self._prefix, self._address = f"{folder}/" if folder else "", address
        if scheme != "s3" or not self._bucket:
            raise UserError(f"{address}: shards are written to a folder or to s3://bucket/folder; copy them from there")
        self._client = boto3.client("s3", config=_patience())
        with self._errors():
            if self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}names/").get("KeyCount"):
                raise UserError(f"{address} holds shards already: choose another place")

    def __enter__(self) -> Path:
        self._scratch = tempfile.TemporaryDirectory()
        return Path(self._scratch.name)

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    def take(self) -> None:
        self._upload("*.bin")

    def finish(self) -> None:
        for pattern in ("*.bin", "images/index.json", "names/index.json"):
            self._upload(pattern)

    def _upload(self, pattern: str) -> None:
        root = Path(self._scratch.name)
        for file in sorted(root.rglob(pattern)):
            with self._errors():
                self._client.upload_file(str(file), self._bucket, self._prefix + file.relative_to(root).as_posix())
            file.unlink()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise UserError(f"{self._address} can't be written: {reason(error)}") from error


def _writer(folder: Path) -> Any:
    from litdata.streaming import Cache

    folder.mkdir()
    return Cache(str(folder), chunk_bytes=_SHARD)


def _close(shards: Any) -> None:
    shards.done()
    shards.merge(1)


def _open(place: str) -> "StreamingDataset":
    options = {"config": _patience()} if place.startswith("s3://") else None
    # Of a remote set only the index is kept on disk.
    cache_dir = tempfile.mkdtemp(dir=_scratch().name)
    return litdata().StreamingDataset(place, cache_dir=cache_dir, storage_options=options)


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with this process; a loader's workers inherit it."""
    return tempfile.TemporaryDirectory(prefix="shards-", ignore_cleanup_errors=True)


def _patience() -> Any:
    """Instead of litdata's thousand tries."""
    from botocore.config import Config

    return Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60)


def litdata() -> Any:
    try:
        import litdata
    except ImportError as error:
        raise UserError("shards need litdata: pip install 'deblurlab[streaming]'") from error
    return litdata
