"""GoPro: held-out sequences, kinds of blur, error messages."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from deblurlab.config import instantiate
from deblurlab.datasets import GoPro, ImageSet, PairDataset
from deblurlab.errors import UserError
from deblurlab.media.images import read_image
from support import config


def test_gopro_holds_out_whole_sequences(gopro_tree: Path) -> None:
    data = GoPro(root=str(gopro_tree), validation=1)
    data.prepare()
    assert [p.name for p in data.items("val")] == ["c/000001", "c/000002"]
    assert {p.group for p in data.items("train")} == {"a", "b"}
    assert [p.name for p in data.tests()["gopro"]] == ["d/000001", "d/000002"]
    named = GoPro(root=str(gopro_tree), validation=["b"])
    assert {p.group for p in named.items("val")} == {"b"}
    assert len(named.items("train")) == 4
    assert GoPro(root=str(gopro_tree), validation=0).items("val") == []


@pytest.mark.parametrize("key", ["blur", "blur_gamma"])
def test_gopro_reads_the_chosen_blur(gopro_tree: Path, key: str) -> None:
    sample = PairDataset(GoPro(root=str(gopro_tree), blur_key=key, validation=0).items("train"))[0, 0, 0]  # type: ignore[arg-type]
    for image, kind in ((sample["blurred"], key), (sample["sharp"], "sharp")):
        stored = read_image(gopro_tree / "train" / "a" / kind / "000001.png")
        assert np.array_equal(image.permute(1, 2, 0).numpy(), stored)


def test_the_error_for_a_missing_or_incomplete_gopro_names_the_remedy(gopro_tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no GoPro data set at .*data.root=<folder>"):
        GoPro(root=str(tmp_path / "nowhere")).prepare()
    with pytest.raises(UserError, match="lacks the sequences seq7"):
        GoPro(root=str(gopro_tree), validation=["seq7"]).items("train")
    with pytest.raises(UserError, match="has only 3 sequence"):
        GoPro(root=str(gopro_tree), validation=3).items("val")
    with pytest.raises(UserError, match="blur_key is 'blurry'"):
        GoPro(root=str(gopro_tree), blur_key="blurry")  # type: ignore[arg-type]


def test_the_test_set_alone_can_be_tested_on(gopro_copy: Path) -> None:
    """Neither training sequences nor a validation split are needed."""
    shutil.rmtree(gopro_copy / "train")
    data = GoPro(root=str(gopro_copy))
    data.prepare()
    assert [pair.name for pair in data.tests()["gopro"]] == ["d/000001", "d/000002"]
    with pytest.raises(UserError, match=r"no GoPro data set at .*train: download GOPRO_Large"):
        data.items("train")


def _set(name: str, root: Path, *overrides: str) -> ImageSet:
    return instantiate(config(f"data={name}", f"data.root={root}", *overrides).data)


def test_the_option_chooses_the_blur_and_a_missing_one_is_named(gopro_copy: Path) -> None:
    assert _set("gopro", gopro_copy).items("train")[0].blurred.parent.name == "blur"
    assert _set("gopro_gamma", gopro_copy).items("train")[0].blurred.parent.name == "blur_gamma"
    shutil.rmtree(gopro_copy / "train" / "a" / "blur_gamma")
    with pytest.raises(UserError, match=r"train/a has no blur_gamma \(it has blur, sharp\): .*data.blur_key"):
        _set("gopro_gamma", gopro_copy).items("train")


def test_a_sequence_in_train_and_test_is_refused(gopro_copy: Path) -> None:
    (gopro_copy / "test" / "d").rename(gopro_copy / "test" / "b")
    with pytest.raises(UserError, match="has the sequence b in train and in test"):
        _set("gopro", gopro_copy).prepare()


def test_the_reference_split_is_drawn_by_seed_with_a_warning(
    gopro_tree: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deblurlab.datasets.gopro._REFERENCE_SPLIT", {"train": 3, "val": 2, "test": 2})
    drawn = []
    for seed in (0, 0, 1):
        data = _set("gopro", gopro_tree, "data.split=paper", f"data.split_seed={seed}")
        data.prepare()
        parts = [data.items("train"), data.items("val"), data.tests()["gopro_paper"]]
        assert [len(part) for part in parts] == [3, 2, 2]
        assert len({pair.name for part in parts for pair in part}) == 7
        drawn.append(parts)
    assert drawn[0] == drawn[1] != drawn[2]
    assert "metrics are too high" in caplog.text


def test_the_reference_split_needs_the_whole_data_set(gopro_tree: Path) -> None:
    with pytest.raises(UserError, match=r"needs 2213 pairs, \S+ has 8"):
        _set("gopro", gopro_tree, "data.split=paper").items("train")
