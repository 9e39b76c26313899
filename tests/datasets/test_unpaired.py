"""Unpaired data sets."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from deblurlab.config import instantiate
from deblurlab.dataloading import Augmentation, KeyedBatchSampler, Stage
from deblurlab.datasets import PairDataset, Unpaired, Unreferenced
from deblurlab.datasets.frame_store import FrameStore
from deblurlab.datasets.listing import image_file
from deblurlab.errors import UserError
from deblurlab.media.images import read_image, write_png
from support import config, data_command

SIDES = {"blurred": (100, 5, (40, 50)), "sharp": (0, 3, (60, 45))}


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Images whose value of red identifies them, of one size per side."""
    for side, (first, count, size) in SIDES.items():
        for i in range(count):
            (tmp_path / side / "deep").mkdir(parents=True, exist_ok=True)
            image = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
            image[..., 0] = first + i
            write_png(tmp_path / side / "deep" / f"{i}.png", image)
    return tmp_path


def _set(folders: Path, *overrides: str) -> Unpaired:
    places = [f"data.{side}={folders / side}" for side in SIDES]
    return instantiate(config("data=unpaired", *places, *overrides).data)


@cache
def _crop() -> Augmentation:
    return instantiate(config("augment=none", "augment.size=16").augment)


def _drawn(data: Unpaired, epoch: int, seed: int = 0) -> list[tuple[int, int]]:
    """Return the values of red of (blurred, sharp) in an epoch."""
    training = data.training({16: _crop()}, repeat=1, seed=seed)
    order = KeyedBatchSampler(training.sizes, stages=[Stage(0, 16, 1)], seed=seed)
    found = []
    for (key,) in order.from_step(epoch * len(order)):
        sample = training.dataset[key]
        assert sample["blurred"].shape == sample["unpaired_sharp"].shape == (3, 16, 16)
        found.append((int(sample["blurred"][0, 0, 0]), int(sample["unpaired_sharp"][0, 0, 0])))
    return found


def test_an_epoch_has_every_image_of_the_larger_side_with_a_random_one_of_the_other(folders: Path) -> None:
    data = _set(folders)
    data.prepare()
    epochs = [_drawn(data, epoch) for epoch in range(20)]
    assert {blurred for blurred, _ in epochs[0]} == {100, 101, 102, 103}  # one is held out
    together = {pair for epoch in epochs for pair in epoch}
    assert len(together) == 8  # all combinations
    assert _drawn(data, 3) == epochs[3] != _drawn(data, 3, seed=1)


def test_only_the_blurred_image_is_degraded(folders: Path) -> None:
    cfg = config(
        "augment=none", "augment.size=16",
        "augment.degradations=[{_target_:albumentations.InvertImg,p:1.0}]",
    )  # fmt: skip
    training = _set(folders).training({16: instantiate(cfg.augment)}, repeat=1, seed=0)
    sample = training.dataset[0, 0, 16]
    assert int(sample["blurred"][0, 0, 0]) == 255 - 100
    assert int(sample["unpaired_sharp"][0, 0, 0]) < 3


def test_sides_can_be_other_data_sets(folders: Path, gopro_tree: Path) -> None:
    data = instantiate(
        config(
            "data=unpaired", "+data@data.blurred=gopro", f"data.blurred.root={gopro_tree}", "data.blurred.validation=1",
            f"data.sharp={folders / 'sharp'}",
        ).data)  # fmt: skip
    data.prepare()
    images = data.images("blurred")
    files = [image_file(single.image) for single in images]
    assert {file.parent.name for file in files} == {"blur"}
    assert np.array_equal(data.read(images[0].image), read_image(files[0]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.sharp=null"], "needs data.blurred=<folder> and data.sharp=<folder>"),
        (["data.sharp=${data.blurred}"], "have images in common"),
        (["data.blurred=/nowhere"], "/nowhere is not a folder"),
    ],
)
def test_invalid_sides_are_refused(folders: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _set(folders, *overrides).prepare()


def test_they_are_checked_packed_and_shown(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = [f"data.{side}={folders / side}" for side in SIDES]
    assert data_command("check", "unpaired", *places) == 0
    assert "no problems found" in capsys.readouterr().out
    page = folders / "page.png"
    assert data_command("show", "unpaired", *places, "-o", str(page)) == 0
    assert read_image(page).shape[1] > 1000
    assert data_command("pack", "unpaired", *places) == 0
    data = _set(folders)
    single = data.images("sharp")[0]
    kept = read_image(image_file(single.image))
    assert (folders / "sharp" / "frames" / "pixels.bin").stat().st_size == 3 * 60 * 45 * 3
    assert np.array_equal(data.read(single.image), kept)
    # The image is a view of the store, not read from its file.
    assert isinstance(data.read(single.image).base, np.memmap)


def test_an_image_on_both_sides_is_found(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(folders / "sharp" / "copy.png", read_image(folders / "blurred" / "deep" / "2.png"))
    places = [f"data.{side}={folders / side}" for side in SIDES]
    assert data_command("check", "unpaired", *places) == 1
    assert "is the same image as" in capsys.readouterr().out


def test_a_module_that_needs_pairs_refuses_unpaired_data(folders: Path, train: Callable[..., Path]) -> None:
    with pytest.raises(SystemExit, match="module=paired trains on pairs and the data set has none"):
        train("data=unpaired", *(f"data.{side}={folders / side}" for side in SIDES))
    assert not (folders / "runs").exists()


def test_an_epoch_has_every_image_of_a_larger_sharp_side(folders: Path) -> None:
    data = instantiate(
        config("data=unpaired", f"data.blurred={folders / 'sharp'}", f"data.sharp={folders / 'blurred'}").data
    )
    assert sorted(sharp for _, sharp in _drawn(data, 0)) == [100, 101, 102, 103]


def test_each_folder_and_data_set_has_its_frame_store(folders: Path, gopro_copy: Path) -> None:
    """A data set as a side keeps its own store; folders of pairs with a common parent share one."""
    sides = ["+data@data.blurred=gopro", f"data.blurred.root={gopro_copy}", "data.blurred.validation=1"]
    named = [f"data.{split}_{side}={folders / split / side}" for split in ("val", "test") for side in SIDES]
    for split in ("val", "test"):
        for side in SIDES:
            (folders / split / side).mkdir(parents=True)
            write_png(folders / split / side / "0.png", np.zeros((32, 32, 3), np.uint8))
    assert data_command("pack", "unpaired", *sides, f"data.sharp={folders / 'sharp'}", *named) == 0
    assert len(FrameStore(gopro_copy)) == 16
    assert len(FrameStore(folders / "val")) == len(FrameStore(folders / "test")) == 2


def test_named_pairs_are_checked_at_once(folders: Path) -> None:
    with pytest.raises(UserError, match="data.val_blurred and data.val_sharp go together"):
        _set(folders, "data.val_blurred=/nowhere")
    with pytest.raises(UserError, match="/nowhere"):
        _set(folders, "data.test_blurred=/nowhere", "data.test_sharp=/nowhere").tests()
    one = folders / "one"
    for side in SIDES:
        (one / side).mkdir(parents=True)
        write_png(one / side / "0.png", np.zeros((32, 32, 3), np.uint8))
    data = _set(folders, f"data.test_blurred={one / 'blurred'}", f"data.test_sharp={one / 'sharp'}")
    data.prepare()
    assert len(data.tests()["test"]) == 1


@pytest.mark.slow
def test_a_run_is_not_deleted_if_the_data_are_invalid(folders: Path, train: Callable[..., Path]) -> None:
    run = train()
    with pytest.raises(SystemExit, match="module=paired trains on pairs"):
        train("data=unpaired", *(f"data.{side}={folders / side}" for side in SIDES), "fresh=true")
    with pytest.raises(SystemExit, match="/nowhere"):
        train("data=gopro", "data.root=/nowhere", "fresh=true")
    assert (run / "results.json").is_file()


def test_images_are_held_out_unless_validation_pairs_are_named(folders: Path) -> None:
    data = _set(folders, "data.val_share=0.4")
    assert [single.name for single in data.images("blurred")] == ["deep/0", "deep/1", "deep/2"]
    assert [single.name for single in data.images("sharp")] == ["deep/0", "deep/1"]
    first, second = data.items("val")
    assert isinstance(first, Unreferenced)
    assert [first.name, second.name] == ["deep/3", "deep/4"]
    assert {image_file(pair.sharp).name for pair in (first, second)} == {"2.png"}
    sample = PairDataset(data.items("val"), reader=data.read)[0, 1, 0]
    assert sample["blurred"].shape == (3, 40, 50)
    assert sample["unpaired_sharp"].shape == (3, 60, 45)
    assert "sharp" not in sample
    named = _set(folders, f"data.val_blurred={folders / 'blurred'}", f"data.val_sharp={folders / 'blurred'}")
    assert len(named.images("blurred")) == len(named.items("val")) == 5
    assert not isinstance(named.items("val")[0], Unreferenced)


def test_a_side_of_one_image_works_with_a_warning(folders: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i in (1, 2):
        (folders / "sharp" / "deep" / f"{i}.png").unlink()
    data = _set(folders)
    with caplog.at_level("WARNING"):
        data.prepare()
    assert "data.sharp has a single image to train on" in caplog.text
    assert {sharp for _, sharp in _drawn(data, 0)} == {0}
    assert {image_file(pair.sharp).name for pair in data.items("val")} == {"0.png"}


@pytest.mark.parametrize("kind", ["folder", "list", "set"])
def test_training_pairs_can_be_added(folders: Path, write_pairs: Callable, kind: str) -> None:
    blurred, sharp = write_pairs(count=3)
    listed = folders / "pairs.txt"
    listed.write_text(
        "".join(f"{a} {b}\n" for a, b in zip(sorted(blurred.iterdir()), sorted(sharp.iterdir()), strict=True))
    )
    overrides = {
        "folder": [f"data.pairs={blurred.parent}"],
        "list": [f"data.pairs={listed}"],
        "set": ["+data@data.pairs=pairs", f"data.pairs.list={listed}"],
    }[kind]
    data = _set(folders, *overrides)
    data.prepare()
    items = data.items("train")
    assert sum(bool(item.references) for item in items) == (2 if kind == "set" else 3)  # that data set holds one out
    assert sum(not item.references for item in items) == 4
    training = data.training({16: _crop()}, repeat=1, seed=0)
    drawn = {}
    for epoch in range(20):
        sample = training.dataset[epoch, 0, 16]
        both = sample["pair_blurred"].float(), sample["pair_sharp"].float()
        assert both[0].shape == (3, 16, 16)
        assert 1 < (both[0] - both[1]).abs().mean() < 20  # the crops are at the same place
        drawn[epoch] = both[0].sum().item()
    assert len(set(drawn.values())) > 10
    assert torch.equal(training.dataset[3, 0, 16]["pair_sharp"], training.dataset[3, 0, 16]["pair_sharp"])


def test_missing_pairs_are_named(folders: Path) -> None:
    with pytest.raises(UserError, match="/nowhere"):
        _set(folders, "data.pairs=/nowhere").items("train")


def test_no_synthetic_scene_is_on_both_sides(data_root: Path, tmp_path: Path) -> None:
    small = ["data.of.train=5", "data.of.val=1", "data.of.blurs=1", "data.of.height=64", "data.of.width=64"]
    cfg = config("data=synthetic_unpaired", f"data.of.root={data_root}", *small)
    data = instantiate(cfg.data)
    data.prepare()
    sharp_of = {pair.blurred: pair.sharp for pair in data._of.items("train")}
    blurred, sharp = ([image_file(single.image) for single in data.images(side)] for side in ("blurred", "sharp"))
    assert (len(blurred), len(sharp)) == (2, 3)
    assert not {sharp_of[image] for image in blurred} & set(sharp)
    assert {sharp_of[image] for image in blurred} | set(sharp) == set(sharp_of.values())
    assert [pair.name for pair in data.items("val")] == [pair.name for pair in data._of.items("val")]
    assert len(data.tests()["photographs"]) == 5


def test_the_halves_have_whole_sequences(gopro_tree: Path) -> None:
    cfg = config("data=synthetic_unpaired", "data@data.of=gopro", f"data.of.root={gopro_tree}", "data.of.validation=1")
    data = instantiate(cfg.data)
    data.prepare()
    assert [single.name for single in data.images("blurred")] == ["a/000001", "a/000002"]
    assert [single.name for single in data.images("sharp")] == ["b/000001", "b/000002"]
    assert len(data.items("val")) == 2
    assert len(data.tests()["gopro"]) == 2
