"""Which files `deblurlab restore` finds, and what it says of others."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deblurlab.batch.inputs import check_output, find_inputs
from deblurlab.cli.restore import restore as restore_command
from deblurlab.errors import UserError
from deblurlab.media.signatures import IMAGE, file_kind

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def _save(path: Path, kind: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PIXELS).save(path, format=kind)


def test_files_are_in_natural_order_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    hidden = (".Trash/x.png", ".x.png", "__MACOSX/x.png", "b 2/__MACOSX/y.jpg")
    for name in ("10.png", "2.png", "b 2/x.jpe", "b 10/x.jfif", "out/old.png", *hidden):
        _save(tmp_path / name, "JPEG" if ".j" in name else "PNG")
    found = find_inputs([str(tmp_path)], tmp_path / "out")
    names = [task.source.relative_to(tmp_path).as_posix() for task in found.tasks]
    assert names == ["2.png", "10.png", "b 2/x.jpe", "b 10/x.jfif"]
    assert (found.errors, found.unsupported) == ([], {})
    pattern = find_inputs([str(tmp_path / "**/*")], tmp_path / "out")
    assert [task.source for task in pattern.tasks] == [task.source for task in found.tasks]


def test_a_hidden_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    _save(tmp_path / ".x/a.png")
    for given in (".x", ".x/*"):
        assert [task.source.name for task in find_inputs([str(tmp_path / given)], tmp_path / "out").tasks] == ["a.png"]


@pytest.mark.parametrize("output", ["in/../in/results", "in/results", "link/results"])
@pytest.mark.parametrize("given", ["in", "link", "in/**/*", "link/**/*"])
def test_results_are_no_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, output: str) -> None:
    """Restoring twice finds the same files, however the folders are written."""
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to("in")
    for name in ("in/a.png", "in/b/a.png", "in/results/a.png", "in/results/b/a.png"):
        _save(Path(name))
    tasks, errors, unsupported = find_inputs([given], Path(output))
    assert [task.source.relative_to(given.partition("/")[0]).as_posix() for task in tasks][:1] == ["a.png"]
    assert len(tasks) + len(errors) == 2, errors  # by a pattern, both have the name a.png
    assert not unsupported


def test_an_input_in_the_output_folder_has_one_message(tmp_path: Path) -> None:
    for name, kind in (("a.png", "PNG"), ("b.gif", "GIF"), ("sub/c.png", "PNG")):
        _save(tmp_path / "p" / name, kind)
    (tmp_path / "link").symlink_to(tmp_path / "p")
    for given in ("p", "p/sub", "link"):
        tasks, errors, unsupported = find_inputs([str(tmp_path / given)], tmp_path / "p")
        assert (tasks, unsupported) == ([], {})
        assert errors == [f"{tmp_path / given} is inside the output folder: choose another one with -o"]


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "private.gif"):
        _save(tmp_path / name, "PNG")
    for name, target in (("gone.png", "nowhere.png"), ("self.gif", "self.gif"), (".gone", "nowhere")):
        (tmp_path / name).symlink_to(target)
    opened = Path.open

    def refuse(self: Path, *arguments: str) -> object:  # root can read every file
        if self.name == "private.gif":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    for given in (str(tmp_path), str(tmp_path / "*")):
        found = find_inputs([given], tmp_path / "out")
        assert [task.source.name for task in found.tasks] == ["a.png"]
        assert found.errors == [
            f"{tmp_path / 'gone.png'} can't be read (No such file or directory)",
            f"{tmp_path / 'private.gif'} can't be read (Permission denied)",
            f"{tmp_path / 'self.gif'} can't be read (Too many levels of symbolic links)",
        ]


@pytest.mark.parametrize("inputs", [["in"], ["in/*"], ["in/a.png", "in/b.png"], ["one/*", "in/a.png"]])
def test_several_files_are_not_restored_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.png", "in/b.png", "one/c.png"):
        _save(Path(name))
    with pytest.raises(UserError, match=r"^-o all\.png is one file, but the inputs may be several: choose a folder"):
        find_inputs(inputs, Path("all.png"))
    for given in ("one/*", "one/c.png"):
        assert find_inputs([given], Path("all.png")).tasks == [(Path("one/c.png"), Path("all.png"))]


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
    for given in (str(tmp_path), str(tmp_path / "*")):
        found = find_inputs([given], tmp_path / "out")
        assert [task.source.name for task in found.tasks] == ["a.png"]
        assert found.unsupported == {".dng": 1, ".gif": 2, ".avi": 1, ".heic": 1}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"BMW repair list: brakes, oil, filter"),
        ("song.m4a", b"\0\0\0\x18ftypisom\0\0\0\0isommp42"),
        ("book.M4B", b"\0\0\0\x18ftypM4B \0\0\0\0M4B mp42"),
        ("song", b"\0\0\0\x18ftypM4A \0\0\0\0M4A mp42"),
        ("song.mka", b"\x1aE\xdf\xa3\x9fB\x86\x81\x01"),
        ("song.wma", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0b\xcel"),
    ],
)
def test_texts_and_audio_files_are_neither_images_nor_videos(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert file_kind(tmp_path / name) == ""


@pytest.mark.parametrize("header", [12, 40, 64, 108, 124])
def test_bmp_files_of_every_version_are_images(tmp_path: Path, header: int) -> None:
    (tmp_path / "x").write_bytes(b"BM" + bytes(12) + header.to_bytes(4, "little"))
    assert file_kind(tmp_path / "x") == IMAGE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000", "DDS"])
def test_files_that_pillow_writes_are_recognised(tmp_path: Path, kind: str) -> None:
    try:
        _save(tmp_path / "x", kind)
    except (KeyError, OSError):
        pytest.skip(f"Pillow can't write {kind} here")
    assert file_kind(tmp_path / "x") == ("" if kind == "DDS" else IMAGE)


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


def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbid(*arguments: object) -> None:
        raise AssertionError("an input was opened")

    def message(output: str) -> str:
        with pytest.raises(SystemExit) as end:
            restore_command(["a.png", "-o", output, "--weights", str(weights), "--device", "cpu"])
        return str(end.value.code)

    monkeypatch.setattr("deblurlab.batch.local.open_image", forbid)
    monkeypatch.chdir(tmp_path)
    _save(Path("a.png"))
    Path("file").touch()
    Path("link").symlink_to("nowhere")
    Path("self").symlink_to("self")
    start, end = "deblurlab: -o", ": choose another one"
    assert message("file") == f"{start} file: no file can be created in file (Not a directory){end}"
    assert message("file/x.png") == f"{start} file/x.png: no file can be created in file (Not a directory){end}"
    assert message("link") == f"{start} link: no file can be created in link (it is a link to nothing){end}"
    assert message("self/sub") == f"{start} self/sub: no file can be created in self (it is a link to nothing){end}"

    def refuse(dir: Path) -> None:  # root can write to every folder
        raise PermissionError(13, "Permission denied", str(dir / "tmp"))

    monkeypatch.setattr("deblurlab.batch.inputs.TemporaryFile", refuse)
    assert message("new/er") == f"{start} new/er: no file can be created in . (Permission denied){end}"
    assert message("x.png") == f"{start} x.png: no file can be created in . (Permission denied){end}"
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "file", "link", "self"]
