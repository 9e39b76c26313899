"""Writing shards: a data set's files in a few large ones, in a folder or an object store, by litdata."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deblurlab.datasets.base import Pair
from deblurlab.datasets.checks import look_at
from deblurlab.errors import UserError, first_sentence

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
    return _write(_Bucket(place) if "://" in place else _Folder(Path(place)), parts)


def _write(target: "_Folder | _Bucket", parts: Mapping[str, Sequence[Pair]]) -> Iterator[int]:
    total = 0
    with target as scratch:
        shards = _writer(scratch / "images")
        for pair in (pair for pairs in parts.values() for pair in pairs):
            if pair.extra_references:
                raise UserError(f"{pair.name} has several sharp images, which shards don't hold")
            if (look := look_at(pair)).complaint is not None:
                raise UserError(look.complaint)
            shards[total] = [getattr(pair, side).read_bytes() for side in SIDES]  # a dict may become an Arrow table
            target.take()
            total += 1
            yield total
        _close(shards)
        names = _writer(scratch / "names")
        names[0] = json.dumps({split: [pair.name for pair in pairs] for split, pairs in parts.items()})
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
        self._address, (self._bucket, self._prefix) = address, bucket_and_prefix(address)
        if not self._bucket:
            raise UserError(f"{address}: shards are written to a folder or to s3://bucket/folder; copy them from there")
        self._client = s3_client()
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
        try:
            yield
        except s3_errors() as error:
            raise UserError(f"{self._address} can't be written: {first_sentence(error)}") from error


def _writer(folder: Path) -> Any:
    from litdata.streaming import Cache

    folder.mkdir()
    return Cache(str(folder), chunk_bytes=_SHARD)


def _close(shards: Any) -> None:
    shards.done()
    shards.merge(1)


def bucket_and_prefix(address: str) -> tuple[str, str]:
    """`s3://bucket/some/folder` -> "bucket", "some/folder/"; both are empty if it is no such address."""
    scheme, _, rest = address.partition("://")
    bucket, _, folder = rest.strip("/").partition("/")
    return (bucket, f"{folder}/" if folder else "") if scheme == "s3" else ("", "")


def s3_client() -> Any:
    """Speaks to the object store that the usual `AWS_...` variables name."""
    import boto3

    return boto3.client("s3", config=patience())


def s3_errors() -> tuple[type[Exception], ...]:
    """What such a client raises."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return BotoCoreError, ClientError, Boto3Error


def patience() -> Any:
    """Instead of litdata's thousand tries."""
    from botocore.config import Config

    return Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60)


def litdata() -> Any:
    try:
        import litdata
    except ImportError as error:
        raise UserError("shards need litdata: pip install 'deblurlab[streaming]'") from error
    return litdata
