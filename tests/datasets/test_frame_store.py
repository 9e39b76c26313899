"""Frame store: exact pixels, resumption, detection of changes and damage."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from deblurlab.datasets import frame_store_writer
from deblurlab.datasets.frame_store import FrameStore, open_reader
from deblurlab.datasets.frame_store_writer import write_frame_store
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Seven images of different sizes, in folders."""
    rng, files = np.random.default_rng(0), []
    for i in range(7):
        file = tmp_path / ("a" if i < 4 else "b") / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        write_png(file, rng.integers(0, 256, (10 + i, 20 - i, 3), dtype=np.uint8))
        files.append(file)
    return files


def _pack(root: Path, images: list[Path]) -> list[int]:
    return list(write_frame_store(root, images))


def test_it_returns_the_pixels_of_the_files(tmp_path: Path, images: list[Path]) -> None:
    assert _pack(tmp_path, images) == list(range(8))
    store = open_reader(tmp_path)
    assert isinstance(store, FrameStore)
    assert len(store) == 7
    for path in images:
        assert path in store
        assert np.array_equal(store(path), read_image(path))
    assert np.shares_memory(store(images[0]), store(images[0]))  # views, not copies
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == ["index.json", "pixels.bin"]


def test_a_file_that_was_not_packed_is_read_from_its_file(tmp_path: Path, images: list[Path]) -> None:
    _pack(tmp_path, images[:3])
    assert np.array_equal(FrameStore(tmp_path)(images[5]), read_image(images[5]))


def test_without_a_store_files_are_read_without_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_reader(tmp_path) is read_image
    assert not caplog.text


def test_workers_map_the_file_themselves(tmp_path: Path, images: list[Path]) -> None:
    _pack(tmp_path, images)
    store = FrameStore(tmp_path)
    store(images[0])
    data = pickle.dumps(store)
    assert len(data) < 3000
    assert np.array_equal(pickle.loads(data)(images[6]), read_image(images[6]))


def test_an_interrupted_call_is_resumed(tmp_path: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = write_frame_store(tmp_path, images)
    assert [next(attempt) for _ in range(5)] == [0, 1, 2, 3, 4]
    attempt.close()
    partial = tmp_path / ".frames.partial"
    with (partial / "pixels.bin").open("ab") as file:  # half a frame
        file.write(b"123")
    with (partial / "journal.jsonl").open("a") as file:
        file.write('["a/9')
    assert open_reader(tmp_path) is read_image
    decoded: list[Path] = []
    monkeypatch.setattr(frame_store_writer, "read_image", lambda path: decoded.append(path) or read_image(path))
    assert _pack(tmp_path, images) == [4, 5, 6, 7]
    assert sorted(decoded) == sorted(images[4:])
    store = FrameStore(tmp_path)
    assert all(np.array_equal(store(path), read_image(path)) for path in images)


def test_an_interrupted_call_is_resumed_at_the_first_changed_file(tmp_path: Path, images: list[Path]) -> None:
    attempt = write_frame_store(tmp_path, images)
    _ = [next(attempt) for _ in range(5)]
    attempt.close()
    write_png(images[1], np.zeros((5, 5, 3), np.uint8))
    assert _pack(tmp_path, images)[0] == 1
    assert FrameStore(tmp_path)(images[1]).shape == (5, 5, 3)


def test_packing_again_replaces_the_store(tmp_path: Path, images: list[Path]) -> None:
    _pack(tmp_path, images)
    write_png(images[0], np.full((4, 4, 3), 7, np.uint8))
    _pack(tmp_path, images)
    assert FrameStore(tmp_path)(images[0]).max() == 7


def test_a_store_with_a_changed_source_is_ignored_with_a_warning(
    tmp_path: Path, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    _pack(tmp_path, images)
    write_png(images[2], np.zeros((5, 5, 3), np.uint8))
    assert open_reader(tmp_path) is read_image
    assert f"{images[2]} has changed since it was packed" in caplog.text
    assert "deblurlab data pack" in caplog.text
    images[2].unlink()
    with pytest.raises(UserError, match="was packed and no longer exists"):
        FrameStore(tmp_path)


def test_a_truncated_store_is_ignored_with_a_warning(
    tmp_path: Path, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    _pack(tmp_path, images)
    pixels = tmp_path / "frames" / "pixels.bin"
    whole = pixels.read_bytes()
    pixels.write_bytes(whole[:-1])
    assert open_reader(tmp_path) is read_image
    assert f"has {len(whole) - 1} bytes instead of {len(whole)}" in caplog.text


def test_a_flipped_bit_is_detected_when_its_frame_is_read(tmp_path: Path, images: list[Path]) -> None:
    _pack(tmp_path, images)
    pixels = tmp_path / "frames" / "pixels.bin"
    content = bytearray(pixels.read_bytes())
    content[10] ^= 4
    pixels.write_bytes(content)
    store = FrameStore(tmp_path)
    assert np.array_equal(store(images[1]), read_image(images[1]))
    with pytest.raises(UserError, match=r"pixels.bin is damaged at the frame a/0.png: .*data.store=off"):
        store(images[0])


@pytest.mark.parametrize("damage", ["text", "format", "checksum"])
def test_a_damaged_index_is_refused(damage: str, tmp_path: Path, images: list[Path]) -> None:
    _pack(tmp_path, images)
    file = tmp_path / "frames" / "index.json"
    index = json.loads(file.read_text())
    if damage == "format":
        index["format"] = 99
    index["frames"] = index["frames"].replace("a/0.png", "a/1.png") if damage == "checksum" else index["frames"]
    file.write_text("nonsense" if damage == "text" else json.dumps(index))
    expected = {"text": "isn't the index", "format": "has format 99", "checksum": "its checksum doesn't match"}[damage]
    with pytest.raises(UserError, match=expected):
        FrameStore(tmp_path)


def test_an_unreadable_image_stops_packing_and_is_named(tmp_path: Path, images: list[Path]) -> None:
    images[3].write_bytes(images[3].read_bytes()[:-60])
    with pytest.raises(UserError, match=r"3.png is damaged"):
        _pack(tmp_path, images)
    assert not (tmp_path / "frames").exists()
