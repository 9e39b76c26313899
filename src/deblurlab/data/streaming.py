"""Data sets larger than a disk: shards in a folder or an object store, read sample by sample through litdata."""

import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
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

    Nothing is kept on disk: each sample is one request for its own bytes. So samples come in the same keyed order as
    those of any other set, and a resumed training goes on with the very next one.

    Raises:
        UserError: litdata isn't installed, or `root` holds no whole set of shards or can't be reached.
    """

    def __init__(self, *, root: str) -> None:
        super().__init__(root=".", store="off")
        self._place = root.rstrip("/")

    def prepare(self) -> None:
        _ = self._pairs

    def train(self) -> list[Pair]:
        return self._pairs.get("train", [])

    def val(self) -> list[Pair]:
        return self._pairs.get("val", [])

    def tests(self) -> dict[str, list[Pair]]:
        return {name.partition("/")[2]: pairs for name, pairs in self._pairs.items() if name.startswith("test/")}

    def stores(self) -> dict[Path, list[Path]]:
        raise UserError("data=streaming has no frame store: shards are read as they are")

    def reader(self) -> Reader:
        return _ShardReader(f"{self._place}/images")

    @cached_property
    def _pairs(self) -> dict[str, list[Pair]]:
        """By split. Their paths are numbers of samples, which only the reader understands."""
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
                place = Path(next(numbers))
                found.setdefault(split, []).append(Pair(name, place / "blurred", place / "sharp"))
        return found


class _ShardReader:
    """Reads images by number and side; the two of a pair in succession are one request."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._shards: Any = None
        self._last: tuple[int, dict[str, bytes]] = (-1, {})

    def __call__(self, path: Path) -> Image:
        number = int(path.parent.name)
        if self._shards is None:
            self._shards = _open(self._place)
        if self._last[0] != number:
            self._last = number, self._shards[number]
        return decode_image(io.BytesIO(self._last[1][path.name]), f"{self._place}, sample {path}")

    def __getstate__(self) -> dict[str, Any]:
        return {"_place": self._place, "_shards": None, "_last": (-1, {})}  # a worker has a connection of its own


def write_shards(place: str, parts: Mapping[str, Sequence[Pair]]) -> Iterator[tuple[int, int]]:
    """Write the pairs of each part, "train", "val" or "test/<name>", into shards at `place`, a folder or
    `s3://bucket/folder`; yields the number of pairs that are done, twice. Image files are stored as they are.

    In a folder the shards are there as a whole or not at all; in an object store the list of names, without which
    nothing is read, comes last.

    Raises:
        UserError: litdata isn't installed, `place` is taken or can't be written, or an image can't be read.
    """
    litdata()
    target = _Bucket(place) if "://" in place else _Folder(Path(place))
    total = 0
    with tempfile.TemporaryDirectory() as scratch:
        shards = _writer(Path(scratch, "images"))
        for pair in (pair for pairs in parts.values() for pair in pairs):
            if pair.others:
                raise UserError(f"{pair.name} has several sharp images, which shards don't hold")
            if (look := look_at(pair)).complaint is not None:
                raise UserError(look.complaint)
            shards[total] = {side: getattr(pair, side).read_bytes() for side in _SIDES}
            target.take(Path(scratch))
            total += 1
            yield total, total
        _close(shards)
        names = _writer(Path(scratch, "names"))
        names[0] = {"names": json.dumps({split: [pair.name for pair in pairs] for split, pairs in parts.items()})}
        target.take(Path(scratch))
        _close(names)
        target.take(Path(scratch), whole=True)


class _Folder:
    """A folder as the place for shards."""

    def __init__(self, folder: Path) -> None:
        if folder.exists():
            raise UserError(f"{folder} is there already: choose another folder")
        self._folder, self._partial = folder, folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(self._partial, ignore_errors=True)
        try:
            self._partial.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"{folder} can't be written: {error.strerror}") from error

    def take(self, scratch: Path, *, whole: bool = False) -> None:
        for file in _written(scratch, whole):
            destination = self._partial / file.relative_to(scratch)
            destination.parent.mkdir(exist_ok=True)
            shutil.move(file, destination)
        if whole:
            self._partial.rename(self._folder)


class _Bucket:
    """An S3 bucket, or one of a store that speaks S3."""

    def __init__(self, address: str) -> None:
        import boto3
        from botocore.exceptions import ClientError

        scheme, _, rest = address.partition("://")
        if scheme != "s3":
            raise UserError(f"{address}: shards are written to a folder or to s3://bucket/folder; copy them from there")
        self._bucket, _, self._prefix = rest.rstrip("/").partition("/")
        self._client = boto3.client("s3", config=_patience())
        try:
            if self._client.list_objects_v2(Bucket=self._bucket, Prefix=f"{self._prefix}/names/").get("KeyCount"):
                raise UserError(f"{address} holds shards already: choose another place")
        except ClientError as error:
            raise UserError(f"{address} can't be written: {reason(error)}") from error

    def take(self, scratch: Path, *, whole: bool = False) -> None:
        for file in _written(scratch, whole):
            key = "/".join(filter(None, [self._prefix, file.relative_to(scratch).as_posix()]))
            self._client.upload_file(str(file), self._bucket, key)
            file.unlink()


def _written(scratch: Path, whole: bool) -> list[Path]:
    """Shards that are finished; indexes, which belong to whole sets of them, once everything is: images' first."""
    return sorted(path for path in scratch.rglob("*") if path.suffix == ".bin" or (whole and path.name == "index.json"))


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
    return litdata().StreamingDataset(place, cache_dir=tempfile.mkdtemp(prefix="shards-"), storage_options=options)


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
