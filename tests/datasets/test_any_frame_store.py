"""Property tests of the frame store: any images, any content of the index."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deblurlab.datasets.frame_store import FrameStore
from deblurlab.datasets.frame_store_writer import write_frame_store
from deblurlab.errors import UserError
from deblurlab.media.images import write_png

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]) | st.just("\udcff"), max_size=9)
paths = st.builds("{}/{}.png".format, st.sampled_from([".", "a", "a b/c"]), names)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-10, 50) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["a.png", "b.png", "c.png", ".", "frames/pixels.bin"]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)  # fmt: skip


@dataclass
class Packed:
    root: Path
    index: bytes
    images: dict[Path, np.ndarray]

    def check_refused_or_equal(self, index: bytes) -> None:
        """Check that the store with this index is refused or returns the original images."""
        (self.root / "frames" / "index.json").write_bytes(index)
        try:
            store = FrameStore(self.root)
            found = {path: store(path) for path in self.images}
        except UserError:
            return
        assert len(store) == len(self.images)
        assert all(path in store for path in found)
        assert all(np.array_equal(found[path], image) for path, image in self.images.items())


def _packed(root: Path, sizes: dict[str, tuple[int, int]]) -> Packed:
    rng, images = np.random.default_rng(0), {}
    for name, size in sizes.items():
        images[root / name] = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(root / name, images[root / name])
    assert list(write_frame_store(root, sorted(images)))[-1] == len(images)
    return Packed(root, (root / "frames" / "index.json").read_bytes(), images)


@pytest.fixture(scope="module")
def packed() -> Iterator[Packed]:
    with tempfile.TemporaryDirectory() as folder:
        yield _packed(Path(folder), {"a.png": (2, 3), "b.png": (3, 2), "c.png": (4, 1)})


@given(st.dictionaries(paths, sizes, max_size=4))
@settings(max_examples=25)
def test_any_images_are_read_back(sizes: dict[str, tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        packed = _packed(Path(folder) / "root", sizes)
        store = FrameStore(packed.root)
        assert len(store) == len(packed.images)
        for path, image in packed.images.items():
            assert path in store
            assert np.array_equal(store(path), image)


@given(st.data())
@settings(max_examples=150)
def test_changed_bytes_of_the_index_are_detected(packed: Packed, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(packed.index)))
    gone, new = data.draw(st.integers(0, 3)), data.draw(st.binary(max_size=3))
    packed.check_refused_or_equal(packed.index[:at] + new + packed.index[at + gone :])


@given(st.sampled_from(["format", "sha256", "frames"]), values)
@settings(max_examples=100)
def test_changed_entries_of_the_index_are_detected(packed: Packed, key: str, value: Any) -> None:
    packed.check_refused_or_equal(json.dumps(json.loads(packed.index) | {key: value}).encode())


@given(st.integers(0, 2), st.integers(0, 7), values)
@settings(max_examples=200)
def test_changed_values_of_a_frame_are_detected_despite_a_valid_checksum(
    packed: Packed, row: int, column: int, value: Any
) -> None:
    frames = json.loads(json.loads(packed.index)["frames"])
    frames[row][column : column + 1] = [value]
    packed.check_refused_or_equal(_index(frames))


@given(values | st.lists(st.lists(values, min_size=7, max_size=7), max_size=3))
@settings(max_examples=40)
def test_any_other_value_for_the_frames_is_refused(packed: Packed, frames: Any) -> None:
    packed.check_refused_or_equal(_index(frames))


def test_frames_out_of_order_are_refused(packed: Packed) -> None:
    frames = json.loads(json.loads(packed.index)["frames"])
    (packed.root / "frames" / "index.json").write_bytes(_index(frames[::-1]))
    with pytest.raises(UserError, match=r"c\.png doesn't follow the frame before it"):
        FrameStore(packed.root)


@pytest.mark.parametrize("name", ["/a.png", "x/../a.png", "../a.png", "b.png", ""])
def test_an_invalid_name_of_a_frame_is_refused(packed: Packed, name: str) -> None:
    frames = json.loads(json.loads(packed.index)["frames"])
    frames[0][0] = name
    (packed.root / "frames" / "index.json").write_bytes(_index(frames))
    with pytest.raises(UserError, match="names no file of the data set|names an image twice"):
        FrameStore(packed.root)


@pytest.mark.parametrize(("height", "width"), [(-2, -3), (0, 3), (2.0, 3), (True, 6)])
def test_an_invalid_size_of_a_frame_is_refused(packed: Packed, height: Any, width: Any) -> None:
    frames = json.loads(json.loads(packed.index)["frames"])
    frames[0][1:3] = height, width
    (packed.root / "frames" / "index.json").write_bytes(_index(frames))
    with pytest.raises(UserError, match="has an invalid size"):
        FrameStore(packed.root)


def _index(frames: Any) -> bytes:
    content = json.dumps(frames)
    return json.dumps({"format": 1, "sha256": sha256(content.encode()).hexdigest(), "frames": content}).encode()
