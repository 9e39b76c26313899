"""Where pictures lie that many machines restore: a folder that all of them see, or an S3 bucket."""

import mimetypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from deblurlab.datasets.shards import bucket_and_prefix, s3_client, s3_errors
from deblurlab.errors import UserError, first_sentence
from deblurlab.runs.untrusted import is_inside


class Store(Protocol):
    """Files by key, their path below the store's address."""

    address: str
    """Ends in "/"."""

    def keys(self) -> Iterator[str]:
        """Of all files, hidden ones too.

        Raises:
            OSError: The store can't be reached or read.
        """

    def fetch(self, key: str, file: Path) -> None:
        """Copy what `key` names into a local file.

        Raises:
            OSError: As of now it can't.
        """

    def put(self, file: Path, key: str) -> None:
        """Keep a local file as `key`: whole, or not at all.

        Raises:
            OSError: As of now it can't.
            UserError: The store can't hold that key.
        """


def open_store(place: str) -> Store:
    """A folder, which needn't exist, or `s3://bucket/folder`, with the endpoint and the credentials of the usual
    `AWS_...` variables.

    Raises:
        UserError: `place` is another address, or boto3 isn't installed.
    """
    return Bucket(place) if "://" in place else Folder(Path(place))


class Folder:
    """A folder on this machine, or on one that all share."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.address = f"{self._root}/"

    def keys(self) -> Iterator[str]:
        files = (path for path in sorted(self._root.rglob("*")) if path.is_file() and is_inside(path, self._root))
        return (path.relative_to(self._root).as_posix() for path in files)

    def fetch(self, key: str, file: Path) -> None:
        shutil.copyfile(self._root / key, file)

    def put(self, file: Path, key: str) -> None:
        target = self._root / key
        if not Path(os.path.normpath(target)).is_relative_to(self._root):
            raise UserError(f"{key} would lie outside of {self._root}: rename it")
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.stem}.{uuid4().hex}.partial")
        try:
            with file.open("rb") as content, partial.open("wb") as copy:
                shutil.copyfileobj(content, copy)
                copy.flush()
                os.fsync(copy.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


class Bucket:
    """Objects below a prefix in an S3 bucket, or in one of a store that speaks S3."""

    def __init__(self, address: str) -> None:
        self._bucket, self._prefix = bucket_and_prefix(address)
        if not self._bucket:
            raise UserError(f"{address} is neither a folder nor s3://bucket/folder: copy the pictures to one of them")
        self.address = f"s3://{self._bucket}/{self._prefix}"
        try:
            with self._errors():
                self._client = s3_client()
        except ImportError as error:
            raise UserError(f"{address} needs boto3: pip install 'deblurlab[ray]'") from error

    def keys(self) -> Iterator[str]:
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for page in pages:
                yield from (found["Key"].removeprefix(self._prefix) for found in page.get("Contents", []))

    def fetch(self, key: str, file: Path) -> None:
        with self._errors():
            self._client.download_file(self._bucket, self._prefix + key, str(file))

    def put(self, file: Path, key: str) -> None:
        kind = {"ContentType": mimetypes.guess_type(key)[0] or "application/octet-stream"}
        with self._errors():
            self._client.upload_file(str(file), self._bucket, self._prefix + key, ExtraArgs=kind)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What the client raises, as an OSError."""
        try:
            yield
        except s3_errors() as error:
            raise OSError(first_sentence(error)) from error
