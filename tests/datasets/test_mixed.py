"""Training on several data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deblurlab.config import instantiate
from deblurlab.datasets import Folders, ImageSet, Mixed, Pair, Split
from deblurlab.datasets.frame_store_writer import write_frame_store
from deblurlab.datasets.listing import image_file
from deblurlab.errors import UserError
from deblurlab.media.images import read_image
from support import config, small

WritePairs = Callable[..., tuple[Path, Path]]


def _sets(write_pairs: WritePairs, *counts: int) -> dict[str, Folders]:
    sets = {}
    for i, count in enumerate(counts):
        blurred, sharp = write_pairs(count, name=f"set{i}", seed=i)
        sets[f"set{i}"] = Folders(
            blurred=str(blurred), sharp=str(sharp), test_blurred=str(blurred), test_sharp=str(sharp)
        )
    return sets


def test_each_data_set_keeps_its_weight_and_name(write_pairs: WritePairs) -> None:
    data = Mixed(sets=_sets(write_pairs, 3, 4, 5), weights={"set0": 2.0, "set1": 1.0, "set2": 0.0})
    data.prepare()
    assert [(weight, [pair.name for pair in pairs]) for weight, pairs in data.parts()] == [
        (2.0, ["set0/000", "set0/001"]), (1.0, ["set1/000", "set1/001", "set1/002"]),
    ]  # fmt: skip
    assert [pair.name for pair in data.items("val")] == ["set0/002", "set1/003", "set2/004"]
    assert {name: len(pairs) for name, pairs in data.tests().items()} == {"pairs": 3, "set1_pairs": 4, "set2_pairs": 5}


def test_each_image_is_read_by_the_reader_of_its_data_set(write_pairs: WritePairs) -> None:
    sets = _sets(write_pairs, 3, 3)
    root = sets["set0"].root
    images = sorted(root.rglob("*.png"))
    list(write_frame_store(root, images))
    data = Mixed(sets=sets, weights={"set0": 1.0, "set1": 1.0})
    data.open()
    for pair, packed in zip(data.items("train")[::2], (True, False), strict=True):
        image, path = data.read(pair.blurred), image_file(pair.blurred)
        assert path in [item.blurred for item in sets[pair.name.partition("/")[0]].items("train")]
        assert np.array_equal(image, read_image(path))
        assert isinstance(image.base, np.memmap) is packed  # a view of the store, or read from its file


def test_equal_references_of_several_data_sets_are_told_apart() -> None:
    """Both data sets number their images from 0."""
    data = Mixed(sets={"dark": Level(10), "light": Level(200)}, weights={"dark": 1.0, "light": 1.0})
    assert [int(data.read(pair.sharp)[0, 0, 0]) for pair in data.items("train")] == [10, 11, 200, 201]
    assert [pair.name for pair in data.items("test")] == ["0", "0"]
    assert data.tests().keys() == {"test", "light_test"}
    dataset: Any = data.training({}, repeat=1, seed=0).dataset
    batch = [dataset.pairs[i].name for i in range(4)]
    assert batch == ["dark/0", "dark/1", "light/0", "light/1"]


class Level(ImageSet):
    """Two pairs, numbered, of uniform images."""

    def __init__(self, level: int) -> None:
        self._level = level

    def items(self, split: Split) -> list[Pair]:
        return [Pair(str(i), i, i) for i in range(2 if split == "train" else 1)]

    def read(self, reference: int) -> np.ndarray:
        return np.full((8, 8, 3), self._level + reference, np.uint8)


@pytest.mark.parametrize(
    ("weights", "message"),
    [({"set0": 1.0}, "must have the same names"), ({"set0": 0.0, "set1": 0.0}, "weights must be at least 0"),
     ({"set0": -1.0, "set1": 1.0}, "weights must be at least 0")],
)  # fmt: skip
def test_invalid_weights_are_refused(weights: dict[str, float], message: str, write_pairs: WritePairs) -> None:
    with pytest.raises(UserError, match=message):
        Mixed(sets=_sets(write_pairs, 2, 2), weights=weights)


def test_any_data_set_can_be_added_on_the_command_line(tmp_path: Path) -> None:
    cfg = config("data=mixed", "+data@data.sets.reds=reds", "+data.weights.reds=2", "data.sets.gopro.root=x")
    data = instantiate(cfg.data)
    assert set(data._sources) == {"gopro", "synthetic", "reds"}
    assert data._weights["reds"] == 2


def test_a_mixture_trains_and_is_tested_on_each_data_set(
    train: Callable[..., Path], write_pairs: WritePairs, data_root: Path
) -> None:
    import json

    blurred, sharp = write_pairs(4, size=(64, 64))
    run = train(
        "data=mixed", "~data.sets.gopro", "~data.weights.gopro", "+data@data.sets.own=pairs", "+data.weights.own=1",
        f"data.sets.own.blurred={blurred}", f"data.sets.own.sharp={sharp}", f"data.sets.own.test_blurred={blurred}",
        f"data.sets.own.test_sharp={sharp}", f"data.sets.synthetic.root={data_root}", "data.sets.synthetic.train=4",
        "data.sets.synthetic.val=1", "data.sets.synthetic.blurs=1", "data.sets.synthetic.height=64",
        "data.sets.synthetic.width=64", "+debug=smoke", "loss=l1", "name=run", *small(),
        "trainer.limit_test_batches=2", smoke=False,
    )  # fmt: skip
    results = json.loads((run / "results.json").read_text())
    assert set(results["sets"]) == {"photographs", "pairs"}


@pytest.mark.parametrize("option", ["synthetic_endless", "unpaired", "kohler"])
def test_data_sets_that_list_no_training_pairs_cannot_be_mixed(option: str, write_pairs: WritePairs) -> None:
    blurred, sharp = write_pairs(3)
    sides = [f"data.sets.more.blurred={blurred}", f"data.sets.more.sharp={sharp}"] if option == "unpaired" else []
    cfg = config(
        "data=mixed", "~data.sets.gopro", "~data.weights.gopro", "data.weights.synthetic=0",
        f"+data@data.sets.more={option}", "+data.weights.more=1", *sides,
    )  # fmt: skip
    with pytest.raises(UserError, match=r"data.weights.more=1, but more lists no training pairs: set it to 0"):
        instantiate(cfg.data).items("train")
