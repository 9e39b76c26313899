"""Pairs from folders and lists, and the held-out sequences of GoPro."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deblurlab.config import instantiate
from deblurlab.datasets import Folders, GoPro, PairDataset
from deblurlab.datasets.listing import match_pairs
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png
from support import config

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


def test_a_pair_of_different_sizes_is_refused_naming_both(write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(1)
    write_png(sharp / "000.png", GREY)
    with pytest.raises(UserError, match=r"blurred/000.png is 64x48 and .*sharp/000.png 16x16"):
        PairDataset(match_pairs(blurred, sharp))[0, 0, 0]


def test_the_end_of_the_list_is_held_out(write_pairs: WritePairs) -> None:
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


def test_invalid_settings_are_refused(write_pairs: WritePairs) -> None:
    blurred, sharp = map(str, write_pairs(1))
    with pytest.raises(UserError, match="data.val_blurred and data.val_sharp go together"):
        Folders(blurred=blurred, sharp=sharp, val_blurred=blurred)
    with pytest.raises(UserError, match="data.val_share is 1.5"):
        Folders(blurred=blurred, sharp=sharp, val_share=1.5)
    with pytest.raises(UserError, match="nothing to validate on"):
        Folders(blurred=blurred, sharp=sharp).prepare()


def test_a_text_file_lists_pairs(tmp_path: Path) -> None:
    for name in ("a b/1.png", "s/1.png", "x.png", "y.png", "z.png", "w.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_png(tmp_path / name, GREY)
    (tmp_path / "list.txt").write_text("# blurred sharp\n'a b/1.png' s/1.png\n\nx.png y.png\nz.png w.png\n")
    data = instantiate(config("data=pairs", f"data.list={tmp_path / 'list.txt'}").data)
    assert [pair.name for pair in data.train()] == ["a b/1", "x"]
    assert [(pair.blurred.name, pair.sharp.name) for pair in data.val()] == [("z.png", "w.png")]


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
        instantiate(config("data=pairs", f"data.list={tmp_path / 'list.txt'}").data).prepare()


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
    def build() -> None:
        instantiate(config("data=pairs", *settings).data).prepare()

    with pytest.raises(Exception) as caught:  # noqa: PT011
        build()
    assert message in str(caught.value.__cause__ or caught.value)


def test_gopro_holds_out_whole_sequences(gopro_tree: Path) -> None:
    data = GoPro(root=str(gopro_tree), validation=1)
    data.prepare()
    assert [p.name for p in data.val()] == ["c/000001", "c/000002"]
    assert {p.group for p in data.train()} == {"a", "b"}
    assert [p.name for p in data.tests()["gopro"]] == ["d/000001", "d/000002"]
    named = GoPro(root=str(gopro_tree), validation=["b"])
    assert {p.group for p in named.val()} == {"b"}
    assert len(named.train()) == 4
    assert GoPro(root=str(gopro_tree), validation=0).val() == []


@pytest.mark.parametrize("key", ["blur", "blur_gamma"])
def test_gopro_reads_the_chosen_blur(gopro_tree: Path, key: str) -> None:
    sample = PairDataset(GoPro(root=str(gopro_tree), blur_key=key, validation=0).train())[0, 0, 0]  # type: ignore[arg-type]
    for name, kind in (("blurred", key), ("sharp", "sharp")):
        stored = read_image(gopro_tree / "train" / "a" / kind / "000001.png")
        assert np.array_equal(sample[name].permute(1, 2, 0).numpy(), stored)


def test_the_error_for_a_missing_or_incomplete_gopro_names_the_remedy(gopro_tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no GoPro data set at .*data.root=<folder>"):
        GoPro(root=str(tmp_path / "nowhere")).prepare()
    with pytest.raises(UserError, match="lacks the sequences seq7"):
        GoPro(root=str(gopro_tree), validation=["seq7"]).prepare()
    with pytest.raises(UserError, match="has only 3 sequence"):
        GoPro(root=str(gopro_tree), validation=3).prepare()
    with pytest.raises(UserError, match="blur_key is 'blurry'"):
        GoPro(root=str(gopro_tree), blur_key="blurry")  # type: ignore[arg-type]
