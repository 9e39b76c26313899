"""Storage that many machines share: a folder that all of them mount, or an S3 bucket."""

import mimetypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from deblurlab.errors import UserError, first_sentence
from deblurlab.runs.files import atomic_write
from deblurlab.runs.untrusted import is_inside


class Store(Protocol):
    """Files with keys, which are paths relative to the store's address."""

    address: str
    """Address with a trailing "/"."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys of all files that start with `prefix`, hidden files included.

        Raises:
            OSError: The store can't be reached or read.
        """

    def fetch(self, key: str, file: Path) -> None:
        """Copy a stored file to a local file.

        Raises:
            OSError: The store can't be reached or read at present.
        """

    def put(self, file: Path, key: str) -> None:
        """Store a local file atomically.

        Raises:
            OSError: The store can't be reached or written at present.
            UserError: The key isn't possible in this store.
        """


def open_store(place: str) -> Store:
    """Return the store of a folder, which needn't exist, or of `s3://bucket/folder`.

    The usual `AWS_...` environment variables set the endpoint and the credentials.

    Raises:
        UserError: `place` is another kind of address, or boto3 isn't installed.
    """
    return Bucket(place) if "://" in place else Folder(Path(place))


class Folder:
    """Store in a local or mounted folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.address = f"{self._root}/"

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys of all files that start with `prefix`; links out of the folder are left out."""
        files = (path for path in sorted(self._root.rglob("*")) if path.is_file() and is_inside(path, self._root))
        keys = (path.relative_to(self._root).as_posix() for path in files)
        return (key for key in keys if key.startswith(prefix))

    def fetch(self, key: str, file: Path) -> None:
        """Copy a stored file to a local file."""
        shutil.copyfile(self._root / key, file)

    def put(self, file: Path, key: str) -> None:
        """Store a local file atomically."""
        target = self._root / key
        if not Path(os.path.normpath(target)).is_relative_to(self._root):
            raise UserError(f"{key} would be written outside of {self._root}: rename it")
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as content, atomic_write(target, "wb", unique=True) as copy:
            shutil.copyfileobj(content, copy)


class Bucket:
    """Store below a prefix of a bucket, in S3 or an object store with the same interface."""

    def __init__(self, address: str) -> None:
        self._bucket, self._prefix = parse_s3_address(address)
        if not self._bucket:
            raise UserError(f"{address} is neither a folder nor s3://bucket/folder: copy the images to one of them")
        self.address = f"s3://{self._bucket}/{self._prefix}"
        try:
            with _s3_errors():
                self._client = _s3_client()
        except ImportError as error:
            raise UserError(f"{address} needs boto3: pip install 'deblurlab[ray]' or 'deblurlab[streaming]'") from error

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys of all objects that start with `prefix`."""
        with _s3_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                yield from (item["Key"].removeprefix(self._prefix) for item in page.get("Contents", []))

    def fetch(self, key: str, file: Path) -> None:
        """Download an object to a local file."""
        with _s3_errors():
            self._client.download_file(self._bucket, self._prefix + key, str(file))

    def put(self, file: Path, key: str) -> None:
        """Upload a local file; its media type follows from the key's suffix."""
        media_type = {"ContentType": mimetypes.guess_type(key)[0] or "application/octet-stream"}
        with _s3_errors():
            self._client.upload_file(str(file), self._bucket, self._prefix + key, ExtraArgs=media_type)


def parse_s3_address(address: str) -> tuple[str, str]:
    """Return the bucket and the key prefix of an S3 address, or two empty strings for any other address.

    >>> parse_s3_address("s3://bucket/some/folder")
    ('bucket', 'some/folder/')
    """
    scheme, _, rest = address.partition("://")
    bucket, _, folder = rest.strip("/").partition("/")
    return (bucket, f"{folder}/" if folder else "") if scheme == "s3" else ("", "")


def s3_config() -> Any:
    """Return a botocore configuration with a few retries and timeouts of about a minute."""
    from botocore.config import Config

    return Config(retries={"max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60)


def _s3_client() -> Any:
    import boto3

    return boto3.client("s3", config=s3_config())


@contextmanager
def _s3_errors() -> Iterator[None]:
    """Raise errors of boto3 as OSError."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, Boto3Error) as error:
        raise OSError(first_sentence(error)) from error
