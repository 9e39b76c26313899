"""Which files `deblurlab restore` finds, and what it says of others."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblurlab.batch.inputs import check_output, find_inputs
from deblurlab.errors import UserError
from deblurlab.media.signatures import is_image_or_video

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def _save(path: Path, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path, format=kind)


def test_files_are_in_natural_order_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "b 2/x.jpe", "b 10/x.jfif", ".Trash/x.png", ".x.png", "out/old.png"):
        _save(tmp_path / name, "JPEG" if ".j" in name else "PNG")
    found = find_inputs([str(tmp_path)], tmp_path / "out")
    names = [task.source.relative_to(tmp_path).as_posix() for task in found.tasks]
    assert names == ["2.png", "10.png", "b 2/x.jpe", "b 10/x.jfif"]
    assert (found.errors, found.unsupported) == ([], {})


def test_images_and_videos_of_other_kinds_are_counted_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deblurlab.batch.inputs.can_read_heic", lambda: False)
    _save(tmp_path / "a.png")
    _save(tmp_path / "raw.dng", "TIFF")
    for name in ("b.gif", "c.GIF"):
        _save(tmp_path / name, "GIF")
    (tmp_path / "film.avi").write_bytes(b"RIFF\0\0\0\0AVI LIST")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    found = find_inputs([str(tmp_path)], tmp_path / "out")
    assert [task.source.name for task in found.tasks] == ["a.png"]
    assert found.unsupported == {".dng": 1, ".gif": 2, ".avi": 1, ".heic": 1}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "DDS"])
def test_files_that_pillow_writes_are_recognised(tmp_path: Path, kind: str) -> None:
    try:
        _save(tmp_path / "x", kind)
    except (KeyError, OSError):
        pytest.skip(f"Pillow can't write {kind} here")
    assert is_image_or_video(tmp_path / "x") == (kind != "DDS")


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path / "a.png")
    _save(tmp_path / "private" / "b.png")
    scandir = __import__("os").scandir

    def refuse(path: str) -> object:  # root can read every folder
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refuse)
    found = find_inputs([str(tmp_path)], tmp_path / "out")
    assert [task.source.name for task in found.tasks] == ["a.png"]
    assert found.errors == [f"{tmp_path / 'private'} can't be read (Permission denied): its files are not restored"]


def test_the_command_counts_them_and_exits_with_1(
    tmp_path: Path, restore: Callable[..., int], capfd: pytest.CaptureFixture[str]
) -> None:
    _save(tmp_path / "in" / "a.jfif", "JPEG")
    _save(tmp_path / "in" / "b.gif", "GIF")
    assert restore(str(tmp_path / "in"), "-o", str(tmp_path / "out")) == 1
    assert "1 restored, 1 of unsupported kinds (.gif)" in capfd.readouterr().err
    assert Image.open(tmp_path / "out" / "a.jfif").format == "JPEG"


def test_without_pillow_heif_heic_is_counted_with_the_remedy(
    tmp_path: Path, restore: Callable[..., int], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "in").mkdir()
    _save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    assert restore(str(tmp_path / "in"), "-o", str(tmp_path / "out")) == 1
    remedy = "HEIC needs pillow-heif: pip install 'deblurlab[heif]'"
    assert f"1 restored, 1 of unsupported kinds (.heic); {remedy}" in capfd.readouterr().err
    assert restore(str(tmp_path / "in/phone.HEIC"), "-o", str(tmp_path / "out")) == 1
    assert f"phone.HEIC: {remedy}" in capfd.readouterr().err


@pytest.mark.parametrize("suffix", [".gif", ".JXL", ".avi"])
def test_an_output_of_another_kind_is_refused(tmp_path: Path, suffix: str) -> None:
    message = f"result{suffix}: files of type {suffix} can't be written; choose one of .avif, .bmp"
    with pytest.raises(UserError, match=message):
        check_output(tmp_path / f"result{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    check_output(tmp_path / f"folder{suffix}")
