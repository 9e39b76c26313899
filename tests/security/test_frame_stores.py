"""Untrusted frame stores."""

import json
import tracemalloc
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblurlab.datasets.frame_store import FrameStore, open_reader
from deblurlab.datasets.frame_store_writer import write_frame_store
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A data set of one packed image."""
    (tmp_path / "set").mkdir()
    write_png(file := tmp_path / "set" / "a.png", np.zeros((4, 4, 3), np.uint8))
    list(write_frame_store(file.parent, [file]))
    return file


def _rewrite(root: Path, **changed: Any) -> Path:
    """Change the frame in a store's index and update the checksum."""
    file = root / "frames" / "index.json"
    index = json.loads(file.read_text())
    fields = ["name", "height", "width", "offset", "checksum", "size", "modified"]
    frame = dict(zip(fields, json.loads(index["frames"])[0], strict=True)) | changed
    index["frames"] = json.dumps([list(frame.values())])
    file.write_text(json.dumps(index | {"sha256": sha256(index["frames"].encode()).hexdigest()}))
    return file


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../b", "", ".", "a\0b", 7, ["a"] * 9])
def test_frames_of_files_outside_of_the_data_set_are_refused(name: Any, image: Path) -> None:
    file = _rewrite(image.parent, name=name)
    with pytest.raises(UserError, match=f"{file} isn't the index of a frame store"):
        FrameStore(image.parent)
    assert open_reader(image.parent) is read_image


@pytest.mark.parametrize(
    "changed",
    [{"height": "a" * 9, "width": 10**9}, {"height": [0], "width": 10**9}, {"height": -4, "width": -4}, {"height": 0},
     {"offset": -48}, {"offset": 10**30}, {"height": 4.0}, {"height": True}, {"checksum": None}, {"width": 1e400}],
    ids=str,
)  # fmt: skip
def test_frames_of_impossible_sizes_are_refused_without_memory(changed: dict[str, Any], image: Path) -> None:
    file = _rewrite(image.parent, **changed)
    tracemalloc.start()
    with pytest.raises(UserError, match=f"{file} isn't the index of a frame store"):
        FrameStore(image.parent)
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("field", ["index", "frames"])
def test_a_deeply_nested_index_is_refused(field: str, image: Path) -> None:
    deep, file = "[" * 100_000, image.parent / "frames" / "index.json"
    nested = {"format": 1, "frames": deep, "sha256": sha256(deep.encode()).hexdigest()}
    file.write_text(deep if field == "index" else json.dumps(nested))
    with pytest.raises(UserError, match="nested too deeply"):
        FrameStore(image.parent)


def test_pixels_outside_of_the_store_are_not_mapped(image: Path, tmp_path: Path) -> None:
    pixels = image.parent / "frames" / "pixels.bin"
    pixels.rename(tmp_path / "secret")
    pixels.symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="pixels.bin is a link out of the frame store"):
        FrameStore(image.parent)


@pytest.mark.parametrize(
    "place", ["frames", ".frames.partial", ".frames.partial/pixels.bin", ".frames.partial/journal.jsonl"]
)
def test_packing_writes_through_no_link(place: str, tmp_path: Path) -> None:
    root, target = tmp_path / "set", tmp_path / "mine"
    (root / place).parent.mkdir(parents=True)
    target.mkdir()
    (target / "file").write_text("content")
    (root / place).symlink_to(target / "file" if "/" in place else target)
    write_png(root / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match=f"{place} is a link"):
        list(write_frame_store(root, [root / "a.png"]))
    assert [(path.name, path.read_text()) for path in target.iterdir()] == [("file", "content")]


def test_an_untrusted_journal_is_checked(tmp_path: Path) -> None:
    write_png(image := tmp_path / "a.png", np.full((4, 4, 3), 9, np.uint8))
    (tmp_path / ".frames.partial").mkdir()
    (tmp_path / ".frames.partial" / "pixels.bin").write_bytes(bytes(100))
    state = image.stat()
    wrong = ["a.png", "x" * 9, 10**9, 0, 0, state.st_size, state.st_mtime_ns]
    (tmp_path / ".frames.partial" / "journal.jsonl").write_text(json.dumps(wrong) + "\n" + "[" * 100_000)
    assert list(write_frame_store(tmp_path, [image])) == [0, 1]
    assert FrameStore(tmp_path)(image).min() == 9


def test_files_outside_of_the_data_set_are_read_directly(tmp_path: Path) -> None:
    images = [tmp_path / "a.png", tmp_path / "set" / "b.png"]
    (tmp_path / "set").mkdir()
    for image in images:
        write_png(image, np.zeros((4, 4, 3), np.uint8))
    assert list(write_frame_store(tmp_path / "set", images)) == [0, 1]
    store = FrameStore(tmp_path / "set")
    assert [image in store for image in images] == [False, True]
    assert store(images[0]).shape == (4, 4, 3)
