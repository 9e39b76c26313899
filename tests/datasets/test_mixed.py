"""Training on several data sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deblurlab.config import instantiate
from deblurlab.datasets import Folders, Mixed
from deblurlab.datasets.frame_store import FrameStore
from deblurlab.datasets.frame_store_writer import write_frame_store
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
    assert [pair.name for pair in data.val()] == ["set0/002", "set1/003", "set2/004"]
    assert {name: len(pairs) for name, pairs in data.tests().items()} == {"pairs": 3, "set1_pairs": 4, "set2_pairs": 5}


def test_each_image_is_read_by_the_reader_of_its_data_set(write_pairs: WritePairs) -> None:
    sets = _sets(write_pairs, 3, 3)
    root = sets["set0"].root
    images = sorted(root.rglob("*.png"))
    list(write_frame_store(root, images))
    reader = Mixed(sets=sets, weights={"set0": 1.0, "set1": 1.0}).reader()
    for name, packed in (("set0", True), ("set1", False)):
        path = sets[name].train()[0].blurred
        assert np.array_equal(reader(path), read_image(path))
        assert (path in FrameStore(root)) is packed


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
    assert set(data._sets) == {"gopro", "synthetic", "reds"}
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


@pytest.mark.parametrize("option", ["synthetic_endless", "unpaired"])
def test_data_sets_that_list_no_pairs_cannot_be_mixed(tmp_path: Path, option: str) -> None:
    sides = ["data.sets.more.blurred=a", "data.sets.more.sharp=b"] if option == "unpaired" else []
    cfg = config("data=mixed", f"+data@data.sets.more={option}", "+data.weights.more=1", *sides)
    with pytest.raises(Exception, match="only sets that list pairs can be mixed") as caught:
        instantiate(cfg.data)
    assert isinstance(caught.value.__cause__, UserError)
