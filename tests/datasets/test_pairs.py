"""Pairs from folders and lists."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deblurlab.config import instantiate
from deblurlab.datasets import Folders, PairDataset
from deblurlab.datasets.listing import match_pairs
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from support import config, data_command

WritePairs = Callable[..., tuple[Path, Path]]
GREY = np.full((16, 16, 3), 128, np.uint8)


def test_a_pair_of_different_sizes_is_refused_naming_both(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(1)
    write_png(sharp / "000.png", GREY)
    with pytest.raises(UserError, match=r"blurred/000.png is 64x48 and .*sharp/000.png 16x16"):
        PairDataset(match_pairs(blurred, sharp))[0, 0, 0]


def test_the_end_of_the_list_is_held_out(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(10)
    data = Folders(blurred=str(blurred), sharp=str(sharp), val_share=0.3)
    data.prepare()
    assert [p.name for p in data.items("train")] == [f"{i:03d}" for i in range(7)]
    assert [p.name for p in data.items("val")] == ["007", "008", "009"]
    assert data.tests() == {}


def test_folders_for_validation_and_test_are_used(write_pairs: WritePairs) -> None:
    (a, b), (c, d), (e, f) = write_pairs(3, name="x"), write_pairs(2, name="y"), write_pairs(1, name="z")
    data = Folders(
        blurred=str(a), sharp=str(b), val_blurred=str(c), val_sharp=str(d), test_blurred=str(e), test_sharp=str(f)
    )
    data.prepare()
    assert [len(data.items("train")), len(data.items("val")), len(data.tests()["pairs"])] == [3, 2, 1]


def test_test_pairs_alone_are_enough_to_test_on(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(1)
    data = instantiate(config("data=pairs", f"data.test_blurred={blurred}", f"data.test_sharp={sharp}").data)
    assert [pair.name for pair in data.tests()["pairs"]] == ["000"]
    assert data.items("train") == data.items("val") == []
    assert data.read(data.tests()["pairs"][0].sharp).shape == (48, 64, 3)


def test_invalid_settings_are_refused(write_pairs: WritePairs) -> None:
    blurred, sharp = map(str, write_pairs(1))
    with pytest.raises(UserError, match="data.val_blurred and data.val_sharp go together"):
        Folders(blurred=blurred, sharp=sharp, val_blurred=blurred)
    with pytest.raises(UserError, match="data.val_share is 1.5"):
        Folders(blurred=blurred, sharp=sharp, val_share=1.5)
    with pytest.raises(UserError, match="nothing to validate on"):
        Folders(blurred=blurred, sharp=sharp).items("train")


def test_a_text_file_lists_pairs(tmp_path: Path) -> None:
    for name in ("a b/1.png", "s/1.png", "x.png", "y.png", "z.png", "w.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_png(tmp_path / name, GREY)
    (tmp_path / "list.txt").write_text("# blurred sharp\n'a b/1.png' s/1.png\n\nx.png y.png\nz.png w.png\n")
    data = instantiate(config("data=pairs", f"data.list={tmp_path / 'list.txt'}").data)
    assert [pair.name for pair in data.items("train")] == ["a b/1", "x"]
    assert [(pair.blurred.name, pair.sharp.name) for pair in data.items("val")] == [("z.png", "w.png")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("x.png gone.png\n", r"line 1 of .*list.txt: there is no image .*gone.png"),
        ("x.png\n", "line 1 of .* holds 1 paths instead of two"),
        ("# nothing\n", "lists no pairs"),
    ],
)
def test_an_invalid_list_is_refused_naming_the_line(lines: str, message: str, tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", GREY)
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(UserError, match=message):
        instantiate(config("data=pairs", f"data.list={tmp_path / 'list.txt'}").data).items("train")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([], "data=pairs needs data.blurred"),
        (["data.blurred=a"], "data.blurred and data.sharp go together"),
        (["data.blurred=a", "data.sharp=b", "data.list=c"], "are both given"),
        (["data.list=nowhere.txt"], "there is no list of pairs nowhere.txt"),
    ],
)
def test_contradictory_settings_are_refused(settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        instantiate(config("data=pairs", *settings).data).items("train")


def test_check_names_images_of_training_and_validation_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six pairs of different images, of which the last one is also a validation pair."""
    for i in range(6):
        for side in ("blurred", "sharp"):
            (tmp_path / side).mkdir(exist_ok=True)
            write_png(tmp_path / side / f"{i}.png", GREY + i)
    lines = [f"blurred/{i}.png sharp/{i}.png\n" for i in range(6)]
    (tmp_path / "train.txt").write_text("".join(lines))
    (tmp_path / "val.txt").write_text(lines[5])
    lists = [f"data.list={tmp_path / 'train.txt'}", f"data.val_list={tmp_path / 'val.txt'}"]
    assert data_command("check", "pairs", *lists) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert f"{tmp_path}/sharp/5.png (val) is the same image as {tmp_path}/sharp/5.png (train)" in output
    assert data_command("check", "pairs", lists[0]) == 0  # the held-out pair isn't a training pair


def test_a_folder_for_a_set_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data=pairs can't be created: it takes no folder .*settings: blurred, sharp"):
        data_command("check", "pairs", tmp_path)
