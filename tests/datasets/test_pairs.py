"""Pairs on disk: two folders, and GoPro's layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deblurlab.datasets import Folders, GoPro, PairDataset
from deblurlab.datasets.listing import match_pairs
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


def test_other_names_and_counts_are_refused_naming_them(write_pairs: WritePairs) -> None:
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


def test_two_files_of_one_name_are_refused(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(2)
    write_png(blurred / "000.bmp", GREY)
    with pytest.raises(UserError, match="several files called 000"):
        match_pairs(blurred, sharp)


def test_other_sizes_are_refused_naming_both(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(1)
    write_png(sharp / "000.png", GREY)
    with pytest.raises(UserError, match=r"blurred/000.png is 64x48 and .*sharp/000.png 16x16"):
        PairDataset(match_pairs(blurred, sharp))[0, 0, 0]


def test_the_tail_is_held_out(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(10)
    data = Folders(blurred=str(blurred), sharp=str(sharp), val_share=0.3)
    data.prepare()
    assert [p.name for p in data.train()] == [f"{i:03d}" for i in range(7)]
    assert [p.name for p in data.val()] == ["007", "008", "009"]
    assert data.tests() == {}


def test_folders_for_validation_and_test_are_used(write_pairs: WritePairs) -> None:
    (a, b), (c, d), (e, f) = write_pairs(3, name="x"), write_pairs(2, name="y"), write_pairs(1, name="z")
    data = Folders(
        blurred=str(a), sharp=str(b), val_blurred=str(c), val_sharp=str(d), test_blurred=str(e), test_sharp=str(f)
    )
    data.prepare()
    assert [len(data.train()), len(data.val()), len(data.tests()["pairs"])] == [3, 2, 1]


def test_settings_that_do_not_go_together_are_refused(write_pairs: WritePairs) -> None:
    blurred, sharp = map(str, write_pairs(1))
    with pytest.raises(UserError, match="data.val_blurred and data.val_sharp go together"):
        Folders(blurred=blurred, sharp=sharp, val_blurred=blurred)
    with pytest.raises(UserError, match="data.val_share is 1.5"):
        Folders(blurred=blurred, sharp=sharp, val_share=1.5)
    with pytest.raises(UserError, match="nothing to validate on"):
        Folders(blurred=blurred, sharp=sharp).prepare()


@pytest.fixture
def gopro(tmp_path: Path) -> Path:
    """Four training sequences of two frames and a test sequence of one."""
    root = tmp_path / "GOPRO"
    for split, sequence, frames in (*(("train", f"seq{i}", 2) for i in range(4)), ("test", "seq9", 1)):
        for kind, level in (("blur", 1), ("blur_gamma", 2), ("sharp", 3)):
            folder = root / split / sequence / kind
            folder.mkdir(parents=True)
            for i in range(frames):
                write_png(folder / f"{i:06d}.png", np.full((8, 8, 3), level, np.uint8))
    return root


def test_gopro_holds_out_whole_sequences(gopro: Path) -> None:
    data = GoPro(root=str(gopro), validation=1)
    data.prepare()
    assert [p.name for p in data.val()] == ["seq3/000000", "seq3/000001"]
    assert {p.group for p in data.train()} == {"seq0", "seq1", "seq2"}
    assert [p.name for p in data.tests()["gopro"]] == ["seq9/000000"]
    named = GoPro(root=str(gopro), validation=["seq1"])
    assert {p.group for p in named.val()} == {"seq1"}
    assert len(named.train()) == 6
    assert GoPro(root=str(gopro), validation=0).val() == []


@pytest.mark.parametrize(("key", "level"), [("blur", 1), ("blur_gamma", 2)])
def test_gopro_reads_the_blur_asked_for(gopro: Path, key: str, level: int) -> None:
    sample = PairDataset(GoPro(root=str(gopro), blur_key=key).train())[0, 0, 0]  # type: ignore[arg-type]
    assert (sample["blurred"] == level).all()
    assert (sample["sharp"] == 3).all()


def test_gopro_that_is_not_there_or_not_whole_says_what_to_do(gopro: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no GoPro data set at .*data.root=<folder>"):
        GoPro(root=str(tmp_path / "nowhere")).prepare()
    with pytest.raises(UserError, match="lacks the sequences seq7"):
        GoPro(root=str(gopro), validation=["seq7"]).prepare()
    with pytest.raises(UserError, match="has only 4 sequence"):
        GoPro(root=str(gopro), validation=4).prepare()
    with pytest.raises(UserError, match="blur_key is 'blurry'"):
        GoPro(root=str(gopro), blur_key="blurry")  # type: ignore[arg-type]
