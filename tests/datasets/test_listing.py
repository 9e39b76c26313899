"""Matching of the files of two folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deblurlab.datasets.listing import match_pairs
from deblurlab.datasets.pair_list import read_pair_list
from deblurlab.errors import UserError
from deblurlab.media.images import write_png

WritePairs = Callable[..., tuple[Path, Path]]

GREY = np.full((16, 16, 3), 128, np.uint8)


def test_pairs_are_matched_by_relative_path_up_to_the_suffix(tmp_path: Path) -> None:
    for name in ("b/1.png", "b/2.png", "a.png"):
        for side in ("blurred", "sharp"):
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / side / name, GREY)
    (tmp_path / "sharp" / "a.png").rename(tmp_path / "sharp" / "a.bmp")
    pairs = match_pairs(tmp_path / "blurred", tmp_path / "sharp")
    assert [pair.name for pair in pairs] == ["a", "b/1", "b/2"]
    assert pairs[0].sharp.name == "a.bmp"
    assert [pair.group for pair in pairs] == ["", "b", "b"]


def test_files_without_a_counterpart_are_refused_naming_them(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(5)
    (sharp / "001.png").unlink()
    with pytest.raises(
        UserError, match=rf"5 images in {blurred}, 4 in {sharp}: 001 of {blurred} without a file of the same name"
    ):
        match_pairs(blurred, sharp)
    (blurred / "001.png").unlink()
    write_png(sharp / "extra.png", GREY)
    with pytest.raises(UserError, match=f"extra of {sharp} without a file of the same name"):
        match_pairs(blurred, sharp)


def test_files_that_differ_in_their_suffix_only_are_refused(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(2)
    write_png(blurred / "000.bmp", GREY)
    with pytest.raises(UserError, match="several files called 000"):
        match_pairs(blurred, sharp)


def test_pairs_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("10", "9", "b/100", "b/20"):
        for side in ("blurred", "sharp"):
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / side / f"{name}.png", GREY)
    pairs = match_pairs(tmp_path / "blurred", tmp_path / "sharp")
    assert [pair.name for pair in pairs] == ["9", "10", "b/20", "b/100"]


@pytest.fixture
def accented(tmp_path: Path) -> Path:
    """Folder of the images blurred/é 1.png, sharp/it's.png."""
    for name in ("blurred/é 1.png", "sharp/it's.png"):
        (tmp_path / name).parent.mkdir()
        write_png(tmp_path / name, GREY)
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "line",
    ["blurred/é 1.png\tsharp/it's.png", "blurred/é 1.png,sharp/it's.png", "blurred\\é 1.png\tsharp\\it's.png",
     '"blurred/é 1.png" "sharp/it\'s.png"', '"blurred/é 1.png","sharp/it\'s.png"', "blurred/é 1.png; sharp/it's.png"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lists_of_any_editor_are_read(accented: Path, encoding: str, line: str, end: str) -> None:
    (accented / "list.txt").write_bytes(f"# pairs{end}{line}{end}".encode(encoding))
    (pair,) = read_pair_list(accented / "list.txt", accented)
    assert (pair.blurred, pair.sharp) == (accented / "blurred/é 1.png", accented / "sharp/it's.png")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"blurred/a.png sharp/a.png\n" * 2, "line 2 of .*list.txt lists blurred/a.png again, after line 1"),
        (b"a.png\n", "line 1 of .*list.txt holds 1 paths instead of two: a.png"),
        (b"blurred/a.png sharp/a.png 1\n", "holds 3 paths instead of two"),
        (b"blurred/a.png sharp/it's.png\n", "line 1 of .*list.txt: there is no image .*/sharp/it's.png"),
        (b"blurred/a.png sharp/\x81\x8d.png\n", "list.txt isn't text in UTF-8, UTF-16 with a byte order mark or Win"),
        ("blurred/a.png sharp/a.png\n".encode("utf-16-le"), "list.txt isn't text in .*: save it as UTF-8"),
        (b"blurred/a.png sharp/a.png\nblurred/../blurred/a.png sharp/a.png\n", "line 2 of .* again, after line 1"),
        (b"blurred/a.png " + b"x" * 300 + b".png\n", "line 1 of .*list.txt: there is no image .*/xxx"),
    ],
)
def test_errors_of_lists_name_the_line(tmp_path: Path, content: bytes, message: str) -> None:
    for side in ("blurred", "sharp"):
        (tmp_path / side).mkdir()
        write_png(tmp_path / side / "a.png", GREY)
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_pair_list(tmp_path / "list.txt", tmp_path)
