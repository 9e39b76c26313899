"""Torch data sets of (blurred, sharp)."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from deblurlab.config import instantiate
from deblurlab.dataloading import DataModule
from deblurlab.datasets import PairDataset, TorchDataset
from deblurlab.errors import UserError
from own_sets import SIDE, RandomCrops, Samples, Stream, image
from support import config, data_command, feeding


class Returning(Samples):
    """Data set of one sample."""

    def __init__(self, sample: Any) -> None:
        super().__init__(count=1)
        self.sample = sample

    def __getitem__(self, index: int) -> Any:
        return self.sample


def _tensor(kind: str) -> torch.Tensor:
    return torch.tensor(image(0, "sharp")).permute(2, 0, 1).to(getattr(torch, kind))


@pytest.mark.parametrize(
    "value",
    [
        image(0, "sharp"),
        _tensor("uint8"),
        _tensor("float32") / 255,
        _tensor("float64") / 255,
        (_tensor("float32") / 255).to(torch.float16),
    ],
)
def test_every_allowed_kind_gives_the_same_image(value: Any) -> None:
    data = TorchDataset(train=Returning((value, value)), val=Samples())
    (pair,) = data.items("train")
    for reference in pair.images:
        read = data.read(reference)
        assert read.dtype == np.uint8
        assert np.array_equal(read, image(0, "sharp"))


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ((image(0, "sharp") / 255,) * 2, r"image 0 of sample 0 of data.train is ndarray float64 of shape \(48, "),
        ((_tensor("float32"),) * 2, r"values between 20 and 255: tensors of floats must be in \[0, 1\]"),
        ((_tensor("float32") / 127.5 - 1,) * 2, r"values between -0.8\d* and 1: tensors of floats must be in \[0, 1\]"),
        ((torch.full((3, 8, 8), torch.nan),) * 2, "values between nan and nan"),
        ((_tensor("int64"),) * 2, r"Tensor torch.int64 of shape \(3, 48, 48\): images must be RGB arrays"),
        ((_tensor("uint8")[:1],) * 2, r"Tensor torch.uint8 of shape \(1, 48, 48\)"),
        ((image(0, "sharp")[..., 0],) * 2, r"ndarray uint8 of shape \(48, 48\)"),
        ((image(0, "sharp"), None), "image 1 of sample 0 of data.train is NoneType: images must be"),
        ({"blurred": 0, "sharp": 0}, r"sample 0 of data.train is dict: a sample must be \(blurred, sharp\)"),
        ((image(0, "sharp"),) * 3, r"sample 0 of data.train is tuple of 3: a sample must be"),
        (image(0, "sharp"), r"sample 0 of data.train is ndarray: a sample must be"),
    ],
)  # fmt: skip
def test_other_samples_are_one_line_before_the_training(sample: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        TorchDataset(train=Returning(sample)).prepare()
    assert "\n" not in str(caught.value)


def test_an_exception_of_the_data_set_names_the_sample() -> None:
    class Failing(Samples):
        def __getitem__(self, index: int) -> Any:
            if index == 3:
                raise KeyError("no such file")
            return super().__getitem__(index)

    data = TorchDataset(train=Failing(), val_share=0.25)
    with pytest.raises(UserError, match="sample 3 of data.train: KeyError: 'no such file'"):
        data.read(data.items("train")[3].blurred)


def test_images_of_different_sizes_are_one_line() -> None:
    data = TorchDataset(train=Returning((image(0, "sharp"), image(0, "sharp")[:40])))
    with pytest.raises(
        UserError, match="image 0 of sample 0 of data.train is 48x48 and image 1 of .* 48x40: both images"
    ):
        PairDataset(data._pairs("train"), reader=data.read)[0, 0, 0]


def test_the_last_samples_are_held_out_unless_validation_samples_are_given() -> None:
    data = TorchDataset(train=Samples(), val_share=0.25)
    assert [pair.blurred.number for pair in data.items("train")] == [0, 1, 2, 3, 4, 5]
    assert [pair.blurred.number for pair in data.items("val")] == [6, 7]
    assert data.tests() == {}
    data = TorchDataset(train=Samples(), val=Samples(count=3, first=50), test=Samples(count=4, first=80))
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [8, 3, 4]  # type: ignore[arg-type]
    assert np.array_equal(data.read(data.items("val")[1].sharp), image(51, "sharp"))
    assert np.array_equal(data.read(data.tests()["test"][2].blurred), image(82, "blurred"))


def test_test_samples_alone_are_enough_to_test_on() -> None:
    data = TorchDataset(test=Samples())
    assert data.items("train") == data.items("val") == []
    assert len(data.tests()["test"]) == 8


def test_data_sets_that_cannot_be_used_are_named() -> None:
    with pytest.raises(UserError, match="data=torch needs data.train._target_"):
        TorchDataset(val=Samples())
    with pytest.raises(UserError, match="data.train is Stream, which isn't a map-style data set"):
        TorchDataset(train=Stream())
    with pytest.raises(UserError, match="1 training pairs, and nothing to validate on"):
        TorchDataset(train=Samples(count=1)).items("train")


def test_both_images_come_from_one_call_also_in_several_threads() -> None:
    """Each call crops at another random place, and the sharp image is lighter by 10 levels."""
    data = TorchDataset(test=RandomCrops(count=50))

    def difference(number: int) -> set[int]:
        pair = data.tests()["test"][number]
        blurred, sharp = (data.read(reference).astype(int) for reference in pair.images)
        return set((sharp - blurred).ravel().tolist())

    with ThreadPoolExecutor(4) as pool:
        assert all(found == {10} for found in pool.map(difference, [*range(50)] * 4))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_samples(workers: int) -> None:
    cfg = config("augment=none", f"augment.size={SIDE}")
    module = DataModule(
        data=TorchDataset(train=Samples(), val=Samples(count=1)), augmentations=lambda size: instantiate(cfg.augment),
        size=SIDE, batch_size=4, workers=workers,
    )  # fmt: skip
    loader = feeding(module).train_dataloader()
    batches = list(loader)
    loader.close()
    numbers = [int(i) for batch in batches for i in batch["index"]]
    assert sorted(numbers) == list(range(8))
    for batch in batches:
        for i, blurred in zip(batch["index"], batch["blurred"], strict=True):
            assert np.array_equal(blurred.permute(1, 2, 0).numpy(), image(int(i), "blurred"))


def test_the_option_takes_any_class() -> None:
    data = instantiate(
        config(
            "data=torch", "data.train._target_=own_sets.Samples", "+data.train.count=20", "data.val_share=0.2",
            "data.test={_target_: own_sets.Samples, first: 60}",
        ).data
    )  # fmt: skip
    assert [len(data.items(split)) for split in ("train", "val", "test")] == [16, 4, 8]
    images = torch.zeros(3, 2, 3, 8, 8)
    assert len(TorchDataset(train=TensorDataset(images[:, 0], images[:, 1])).items("train")) == 2


def test_the_commands_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["torch", "data.train._target_=own_sets.Samples"]
    assert data_command("check", *arguments) == 0
    assert "no problems found" in capsys.readouterr().out
    assert data_command("show", *arguments, "-o", tmp_path / "page.png") == 0
    assert (tmp_path / "page.png").is_file()
    with pytest.raises(UserError, match="data=torch has no image files"):
        data_command("pack", *arguments)
    with pytest.raises(UserError, match=r"data.train._target_ has no value: set data.train._target_=\.\.\.$"):
        data_command("check", "torch")


def test_it_trains(train: Callable[..., Path]) -> None:
    run = train("data=torch", "data.train._target_=own_sets.Samples", "data.val_share=0.25", "augment.size=32")
    results = json.loads((run / "results.json").read_text())
    assert results["sets"].keys() == {"val"}
    assert results["sets"]["val"]["psnr_blurred"] == pytest.approx(20 * np.log10(25.5))
