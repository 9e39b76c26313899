"""Names of files that have unusual characters, and folders that systems add."""

import os
from pathlib import Path

import numpy as np
import pytest

from deblurlab.datasets import GoPro
from deblurlab.datasets.listing import match_pairs
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from support import data_command

IMAGE = np.full((16, 16, 3), 90, np.uint8)
LATIN_1 = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pairs of four images, one of which has a name that isn't UTF-8."""
    for i, name in enumerate(("a.png", "b.png", LATIN_1, "d.png")):
        for side in ("blurred", "sharp"):
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / "pairs" / side / name, np.full((16, 16, 3), 40 * i, np.uint8))
    return tmp_path / "pairs"


def test_bytes_that_are_not_utf8_are_escaped_in_names(folder: Path) -> None:
    pairs = match_pairs(folder / "blurred", folder / "sharp")
    assert [pair.name for pair in pairs] == ["a", "b", r"caf\xe9", "d"]
    assert pairs[2].blurred == folder / "blurred" / LATIN_1


def test_two_names_with_the_same_escapes_are_refused(folder: Path) -> None:
    for side in ("blurred", "sharp"):
        write_png(folder / side / r"caf\xe9.png", IMAGE)
    with pytest.raises(UserError, match="several files called"):
        match_pairs(folder / "blurred", folder / "sharp")


def test_names_that_a_list_cannot_hold_are_one_line(folder: Path, tmp_path: Path) -> None:
    sides = [f"data.{side}={folder / side}" for side in ("blurred", "sharp")]
    with pytest.raises(UserError, match=r"--fix-list can't list .*caf\\xe9\.png: its name isn't UTF-8; rename it"):
        data_command("check", "pairs", *sides, "--fix-list", tmp_path / "list.txt")
    assert not (tmp_path / "list.txt").exists()
    for side in ("blurred", "sharp"):
        (folder / side / LATIN_1).rename(folder / side / "two\nlines.png")
    with pytest.raises(UserError, match=r"--fix-list can't list '.*two\\nlines\.png': its name has a line break"):
        data_command("check", "pairs", *sides, "--fix-list", tmp_path / "list.txt")


@pytest.mark.parametrize(
    "name", ["my photos (2020)", "a=b #1", "it's 'quoted'", '"x"', "back\\", "${oc.env:HOME}", "${x}"]
)
def test_positional_folders_are_literal(gopro_copy: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = gopro_copy.rename(gopro_copy.with_name(name))
    assert data_command("check", "gopro", folder) == 1
    assert "train has 6 pairs" in capsys.readouterr().out


def test_folders_of_macos_archives_are_ignored(gopro_copy: Path) -> None:
    before = GoPro(root=str(gopro_copy)).splits()
    for folder in ("__MACOSX", "train/__MACOSX", "test/__MACOSX", "train/a/blur/__MACOSX"):
        (gopro_copy / folder).mkdir()
    write_png(gopro_copy / "train/a/blur/__MACOSX/000001.png", IMAGE)
    data = GoPro(root=str(gopro_copy))
    data.prepare()
    assert data.splits() == before
