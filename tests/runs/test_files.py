"""Atomic file writes."""

import json
from pathlib import Path
from typing import IO

import pytest

from deblurlab.runs.files import atomic_folder, atomic_path, atomic_write, write_csv, write_json


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("unique", [False, True])
def test_a_file_is_replaced_when_it_is_complete(unique: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("old")
    with atomic_write(file, unique=unique) as new:
        new.write("new")
        new.flush()
        assert file.read_text() == "old"
        assert len(_names(tmp_path)) == 2
    assert file.read_text() == "new"
    assert _names(tmp_path) == ["a.txt"]


def _write_and_raise(file: IO[bytes]) -> None:
    file.write(b"new")
    raise KeyboardInterrupt


@pytest.mark.parametrize("unique", [False, True])
def test_an_error_leaves_the_old_file(unique: bool, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a.bin", "wb", unique=unique) as new:
        _write_and_raise(new)
    assert (tmp_path / "a.bin").read_bytes() == b"old"
    assert _names(tmp_path) == ["a.bin"]


def test_temporary_names(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.png", fsync=False) as fixed:
        assert fixed.name == ".a.png.partial"
        fixed.touch()
    with (
        atomic_path(tmp_path / "a.png", unique=True) as first,
        atomic_path(tmp_path / "a.png", unique=True) as second,
    ):
        assert first != second
        assert first.suffix == second.suffix == ".png"
        first.touch()
        second.touch()
    assert _names(tmp_path) == ["a.png"]


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    (tmp_path / ".a.txt.partial").symlink_to(tmp_path / "other")
    with atomic_write(tmp_path / "a.txt") as new:
        new.write("new")
    assert (tmp_path / "other").read_text() == "other"
    assert not (tmp_path / "a.txt").is_symlink()


def test_a_folder_is_complete_or_missing(tmp_path: Path) -> None:
    (tmp_path / ".a.partial").mkdir()
    (tmp_path / ".a.partial" / "rest").touch()
    with (
        pytest.raises(KeyboardInterrupt),
        atomic_folder(tmp_path / "a") as folder,
        (folder / "rest").open("xb") as file,
    ):
        _write_and_raise(file)
    assert _names(tmp_path) == []
    with atomic_folder(tmp_path / "b" / "a", unique=True) as folder:
        (folder / "file").touch()
        assert not (tmp_path / "b" / "a").exists()
    assert _names(tmp_path / "b") == ["a"]
    assert _names(tmp_path / "b" / "a") == ["file"]


def test_json_and_csv(tmp_path: Path) -> None:
    inf, text = float("inf"), 'he said: "Infinity'
    write_json(tmp_path / "a.json", {"a": [1.5, float("nan"), inf, {"b": -inf, "c": text, 'Infinity"': inf}]})
    written = (tmp_path / "a.json").read_text()
    assert json.loads(written, parse_constant=pytest.fail) == {
        "a": [1.5, None, inf, {"b": -inf, "c": text, 'Infinity"': inf}]
    }
    write_csv(tmp_path / "a.csv", [{"x": 1, "y": "a,b"}, {"x": 2, "y": ""}])
    assert (tmp_path / "a.csv").read_text() == 'x,y\n1,"a,b"\n2,\n'
