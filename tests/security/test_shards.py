"""Untrusted shards: an index could make litdata unpickle, import, inflate or read other files."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblurlab.datasets import Streaming
from deblurlab.datasets.listing import Pair
from deblurlab.datasets.shards import write_shards
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from security.hostile import Payload

pytest.importorskip("litdata")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    write_png(image := tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert list(write_shards(str(tmp_path / "shards"), {"train": [Pair("a", image, image)]})) == [1]
    return tmp_path / "shards"


def _change(part: Path, key: str, value: Any) -> None:
    index = json.loads((part / "index.json").read_text())
    index["config"][key] = value
    (part / "index.json").write_text(json.dumps(index))


def _sample(part: Path, *fields: bytes) -> None:
    """Write a shard with one sample."""
    sizes = struct.pack(f"<{len(fields)}I", *map(len, fields))
    size = len(sizes) + sum(map(len, fields))
    data = struct.pack("<3I", 1, 12, 12 + size) + sizes + b"".join(fields)
    (part / "chunk-0-0.bin").write_bytes(data)
    index = json.loads((part / "index.json").read_text())
    index["chunks"][0]["chunk_bytes"] = len(data)
    (part / "index.json").write_text(json.dumps(index))


def _read(shards: Path) -> None:
    data = Streaming(root=str(shards))
    data.prepare()
    data.read(data.items("train")[0].blurred)


def test_valid_samples_of_these_tests_are_read(shards: Path) -> None:
    _sample(shards / "names", json.dumps({"train": ["b"]}).encode())
    _read(shards)


@pytest.mark.parametrize("part", ["names", "images"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("data_format", ["pickle"]), ("data_format", ["pickle", "pickle"]), ("data_format", ["graph:pickle", "bytes"]),
     ("compression", "zstd"), ("compression_level", "batch"), ("encryption", {"algorithm": "fernet"}),
     ("format", "mds"),
     ("item_loader", "ParquetLoader"), ("data_spec", '[1, {"type": "os.system", "context": "1", "children_spec": []}]'),
     ("data_spec", "[" * 100_000), ("data_spec", None)],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_an_index_with_more_than_bytes_is_refused(
    part: str, key: str, value: Any, shards: Path, tmp_path: Path
) -> None:
    payload = pickle.dumps(Payload(tmp_path / "canary"))
    _sample(shards / part, *([payload] if part == "names" else [payload, payload]))
    _change(shards / part, key, value)
    with pytest.raises(UserError, match=str(shards)):
        _read(shards)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["../images/chunk-0-0.bin", "/etc/passwd", "chunk-0-0.bin/../../x", "x.parquet", ""])
def test_shards_outside_of_the_folder_are_not_read(name: str, shards: Path) -> None:
    index = json.loads((shards / "names" / "index.json").read_text())
    index["chunks"][0]["filename"] = name
    (shards / "names" / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="names a file that is not a shard"):
        _read(shards)


def test_a_shard_that_is_a_link_is_not_read(shards: Path, tmp_path: Path) -> None:
    (shards / "images" / "chunk-0-0.bin").rename(tmp_path / "secret")
    (shards / "images" / "chunk-0-0.bin").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="names a file that is not a shard"):
        _read(shards)


@pytest.mark.parametrize(
    "names",
    [{"test/../../../x": ["a"]}, {"test/": ["a"]}, {"test/..": ["a"]}, {"../train": ["a"]}, {"train": ["../../x"]},
     {"train": ["/etc/passwd"]}, {"train": "abc"}, {"train": [7]}, ["train"], 7, None],
    ids=str,
)  # fmt: skip
def test_unsafe_names_are_refused(names: Any, shards: Path) -> None:
    _sample(shards / "names", json.dumps(names).encode())
    with pytest.raises(UserError, match=str(shards)):
        Streaming(root=str(shards)).prepare()


def test_deeply_nested_names_are_refused(shards: Path) -> None:
    _sample(shards / "names", b"[" * 100_000)
    with pytest.raises(UserError, match="nested too deeply"):
        Streaming(root=str(shards)).prepare()


def test_a_sample_that_is_no_image_is_refused(shards: Path) -> None:
    _sample(shards / "images", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"")
    with pytest.raises(UserError, match="sample 0, blurred isn't an image"):
        _read(shards)


def test_a_folder_without_an_index_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "shards" / "names").mkdir(parents=True)
    (tmp_path / "shards" / "names" / "0.index.json").write_text('{"chunks": [], "config": {}}')
    with pytest.raises(UserError, match="holds no shards"):
        Streaming(root=str(tmp_path / "shards")).prepare()
    assert [path.name for path in (tmp_path / "shards" / "names").iterdir()] == ["0.index.json"]
