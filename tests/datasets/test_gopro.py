"""GoPro: held-out sequences, kinds of blur, error messages."""

from pathlib import Path

import numpy as np
import pytest

from deblurlab.datasets import GoPro, PairDataset
from deblurlab.errors import UserError
from deblurlab.media.images import read_image


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
