"""From pairs to batches: keyed augmentation, keyed order, whatever the number of workers and processes."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from deblurlab.data import Augmentation, DataModule, Folders, KeyedBatches, PairDataset
from deblurlab.data.pairs import match
from deblurlab.errors import UserError
from support import config

WritePairs = Callable[..., tuple[Path, Path]]


def _augmentation(name: str = "flip_rot", size: int = 32) -> Augmentation:
    return instantiate(config(f"augment={name}", f"augment.size={size}").augment, _convert_="all")


def _module(folders: tuple[Path, Path], world: int = 1, rank: int = 0, **arguments: object) -> DataModule:
    data = Folders(blurred=str(folders[0]), sharp=str(folders[1]))
    module = DataModule(data=data, augmentation=_augmentation(), **arguments)  # type: ignore[arg-type]
    module.trainer = SimpleNamespace(world_size=world, global_rank=rank)  # type: ignore[assignment]
    return module


def _epoch(module: DataModule, epoch: int) -> list[dict]:
    loader = module.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
    return list(loader)


@pytest.mark.parametrize("name", ["flip_rot", "none", "paper"])
def test_both_images_get_the_same_transform(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 200, (48, 64, 3), dtype=np.uint8)
    augmentation = _augmentation(name)
    for key in range(20):
        blurred, sharp = augmentation(image, image, key=(0, 0, key))
        assert blurred.shape == (32, 32, 3)
        assert np.array_equal(blurred, sharp)


def test_flips_and_turns_take_all_eight_forms_and_move_pixels_only() -> None:
    image = np.arange(32 * 32 * 3, dtype=np.int64).reshape(32, 32, 3) % 251
    image = image.astype(np.uint8)
    augmentation = _augmentation()
    seen = {augmentation(image, image, key=(0, 0, key))[0].tobytes() for key in range(100)}
    turned = [np.rot90(form, k) for form in (image, image[:, ::-1]) for k in range(4)]
    assert seen == {np.ascontiguousarray(form).tobytes() for form in turned}


def test_a_sample_is_a_function_of_its_key_alone(write_pairs: WritePairs) -> None:
    pairs = match(*write_pairs(3))
    one, other = (PairDataset(pairs, augmentation=_augmentation(), seed=5) for _ in range(2))
    _ = [other[7, 1], other[0, 2]]  # another history
    assert torch.equal(one[3, 2]["blurred"], other[3, 2]["blurred"])
    different = [
        PairDataset(pairs, augmentation=_augmentation(), seed=seed)[epoch, 2]["blurred"]
        for seed, epoch in [(5, 3), (5, 4), (6, 3)]
    ]
    assert not any(torch.equal(different[0], d) for d in different[1:])


def test_repeats_are_augmented_apart(write_pairs: WritePairs) -> None:
    dataset = PairDataset(match(*write_pairs(2)), augmentation=_augmentation(), repeat=3)
    assert len(dataset) == 6
    first, again = dataset[0, 1], dataset[0, 3]
    assert first["name"] == again["name"] == "001"
    assert not torch.equal(first["blurred"], again["blurred"])


def test_images_smaller_than_the_crop_are_named(write_pairs: WritePairs) -> None:
    dataset = PairDataset(match(*write_pairs(1)), augmentation=_augmentation(size=256))
    with pytest.raises(UserError, match=r"000.png \(64x48\) can't be augmented: .*augment.size"):
        dataset[0, 0]


def test_transforms_that_do_not_make_the_size_are_refused(write_pairs: WritePairs) -> None:
    dataset = PairDataset(match(*write_pairs(1)), augmentation=Augmentation(size=32, transforms=[]))
    with pytest.raises(UserError, match=r"make \(48, 64, 3\), not 32x32"):
        dataset[0, 0]


def test_an_epoch_visits_every_sample_once_in_an_order_of_its_own() -> None:
    batches = KeyedBatches(10, batch_size=3, shuffle=True, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        keys = [key for batch in batches for key in batch]
        assert {e for e, _ in keys} == {epoch}
        orders.append([i for _, i in keys])
    assert len(set(orders[0])) == 9 == 3 * len(batches)  # the tenth doesn't fill a batch
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("shuffle", [True, False])
def test_processes_share_the_same_global_batches(shuffle: bool) -> None:
    alone = list(KeyedBatches(12, batch_size=4, shuffle=shuffle))
    shares = [list(KeyedBatches(12, batch_size=4, shuffle=shuffle, rank=r, world=2)) for r in (0, 1)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(key for part in parts for key in part)
        assert [len(part) for part in parts] == [2, 2]


def test_evaluation_keeps_the_order_and_gives_all_processes_the_same_number_of_images() -> None:
    shares = [list(KeyedBatches(5, batch_size=2, shuffle=False, rank=r, world=2)) for r in (0, 1)]
    assert shares == [[[(0, 0)], [(0, 2)], [(0, 4)]], [[(0, 1)], [(0, 3)], [(0, 0)]]]


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_number_of_workers(write_pairs: WritePairs, workers: int) -> None:
    folders = write_pairs(9)
    none, some = (_epoch(_module(folders, batch_size=4, workers=n), epoch=3) for n in (0, workers))
    assert len(none) == 2
    for a, b in zip(none, some, strict=True):
        assert a["name"] == b["name"]
        assert torch.equal(a["blurred"], b["blurred"])
        assert torch.equal(a["sharp"], b["sharp"])
        assert a["blurred"].dtype == torch.uint8


def test_evaluation_sees_whole_images_one_by_one(write_pairs: WritePairs) -> None:
    folders = write_pairs(10)
    (loader,) = _module(folders, batch_size=4, workers=0).val_dataloader()
    (batch,) = list(loader)
    assert batch["blurred"].shape == (1, 3, 48, 64)
    assert batch["name"] == ["009"]


def test_a_batch_that_cannot_be_filled_or_shared_is_refused(write_pairs: WritePairs) -> None:
    folders = write_pairs(4)
    with pytest.raises(UserError, match="3 training pairs don't fill a batch of 8"):
        _module(folders, batch_size=8).train_dataloader()
    with pytest.raises(UserError, match="batch_size=3 can't be shared evenly by 2 processes"):
        _module(folders, world=2, batch_size=3).train_dataloader()
