"""Augmentation, batch samplers and data module: the same batches for any number of workers and processes."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from deblurlab.config import instantiate
from deblurlab.dataloading import Augmentation, DataModule, KeyedBatchSampler, SequentialBatchSampler, Stage
from deblurlab.datasets import Folders, PairDataset
from deblurlab.datasets.listing import match_pairs
from deblurlab.errors import UserError
from support import config, feeding

WritePairs = Callable[..., tuple[Path, Path]]


def _augmentation(name: str = "flip_rot", size: int = 32) -> Augmentation:
    return instantiate(config(f"augment={name}", f"augment.size={size}").augment)


CROPS = {32: _augmentation()}


def _module(folders: tuple[Path, Path], world: int = 1, rank: int = 0, **arguments: object) -> DataModule:
    data = Folders(blurred=str(folders[0]), sharp=str(folders[1]))
    options = {"augmentations": lambda size: _augmentation(size=size), "size": 32, **arguments}
    module = DataModule(data=data, **options)  # type: ignore[arg-type]
    return feeding(module, world=world, rank=rank)


def _epoch(module: DataModule, epoch: int, done: int = 0) -> list[dict]:
    """Return the batches of an epoch after the first `done` ones."""
    loader = module.train_dataloader()
    module.trainer.global_step = epoch * len(loader) + done  # type: ignore[union-attr,misc]
    return list(loader)


@pytest.mark.parametrize("name", ["flip_rot", "none", "paper", "strong"])
def test_both_images_get_the_same_transform(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 200, (48, 64, 3), dtype=np.uint8)
    augmentation = _augmentation(name)
    for key in range(20):
        blurred, sharp = augmentation(image, image, key=(0, 0, key))
        assert blurred.shape == (32, 32, 3)
        assert np.array_equal(blurred, sharp)


def test_only_the_blurred_image_is_degraded() -> None:
    image = np.full((48, 64, 3), 100, np.uint8)
    noise = A.GaussNoise(std_range=(0.1, 0.1), p=1.0)
    augmentation = Augmentation(size=32, transforms=[A.RandomCrop(32, 32)], degradations=[noise])
    blurred, sharp = augmentation(image, image, key=(0, 0, 1))
    assert np.array_equal(sharp, np.full((32, 32, 3), 100, np.uint8))
    assert blurred.std() > 10
    assert np.array_equal(blurred, augmentation(image, image, key=(0, 0, 1))[0])
    moving = Augmentation(size=32, transforms=[A.RandomCrop(32, 32)], degradations=[A.RandomCrop(16, 16)])
    with pytest.raises(ValueError, match="they may not change the size"):
        moving(image, image, key=(0, 0, 1))


def test_cutblur_pastes_a_rectangle_of_one_image_into_the_other() -> None:
    blurred, sharp = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    augmentation = Augmentation(size=32, transforms=[A.NoOp()], cutblur=0.5)
    shares = []
    for key in range(300):
        mixed, target = augmentation(blurred, sharp, key=(0, 0, key))
        assert np.array_equal(target, sharp)
        rows, columns = (mixed[..., 0] == 255).nonzero()
        if 0 < len(rows) < 32 * 32:
            inside = mixed if len(rows) < 512 else 255 - mixed
            rows, columns = inside[..., 0].nonzero()
            box = inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
            assert (box == 255).all()  # a full rectangle
        shares.append((mixed == 255).mean())
    untouched = np.mean([share == 0 for share in shares])
    assert untouched == pytest.approx(0.5, abs=0.1)
    assert np.mean([share > 0.5 for share in shares]) == pytest.approx(0.25, abs=0.08)


def test_flips_and_quarter_turns_give_all_eight_orientations() -> None:
    image = np.arange(32 * 32 * 3, dtype=np.int64).reshape(32, 32, 3) % 251
    image = image.astype(np.uint8)
    augmentation = _augmentation()
    seen = {augmentation(image, image, key=(0, 0, key))[0].tobytes() for key in range(100)}
    turned = [np.rot90(form, k) for form in (image, image[:, ::-1]) for k in range(4)]
    assert seen == {np.ascontiguousarray(form).tobytes() for form in turned}


def test_a_sample_is_a_function_of_its_key_alone(write_pairs: WritePairs) -> None:
    pairs = match_pairs(*write_pairs(3))
    one, other = (PairDataset(pairs, augmentations=CROPS, seed=5) for _ in range(2))
    _ = [other[7, 1, 32], other[0, 2, 32]]  # other samples first
    assert torch.equal(one[3, 2, 32]["blurred"], other[3, 2, 32]["blurred"])
    different = [
        PairDataset(pairs, augmentations=CROPS, seed=seed)[epoch, 2, 32]["blurred"]
        for seed, epoch in [(5, 3), (5, 4), (6, 3)]
    ]
    assert not any(torch.equal(different[0], d) for d in different[1:])


def test_a_resumed_epoch_continues_with_the_next_batch(write_pairs: WritePairs) -> None:
    """The batches equal those of an uninterrupted training, into the next epoch."""
    folders = write_pairs(9)
    module = _module(folders, batch_size=2, workers=0)
    batches = [*_epoch(module, 1), *_epoch(module, 2)]
    assert len(batches) == 8
    for done in range(4):
        rest = _epoch(module, 1, done)
        for resumed, expected in zip(rest, batches[done : done + 4], strict=True):
            assert resumed["name"] == expected["name"]
            assert torch.equal(resumed["blurred"], expected["blurred"])


def test_repeated_samples_are_augmented_independently(write_pairs: WritePairs) -> None:
    (first, again), *_ = _epoch(_module(write_pairs(2), batch_size=2, repeat=2, workers=0), epoch=0)[0]["blurred"], 0
    assert not torch.equal(first, again)


def test_images_smaller_than_the_crop_are_named(write_pairs: WritePairs) -> None:
    dataset = PairDataset(match_pairs(*write_pairs(1)), augmentations={256: _augmentation(size=256)})
    with pytest.raises(UserError, match=r"000.png \(64x48\) can't be augmented: .*augment.size"):
        dataset[0, 0, 256]


def test_transforms_with_another_output_size_are_refused(write_pairs: WritePairs) -> None:
    dataset = PairDataset(match_pairs(*write_pairs(1)), augmentations={32: Augmentation(size=32, transforms=[])})
    with pytest.raises(UserError, match=r"return \(48, 64, 3\), not 32x32"):
        dataset[0, 0, 32]


def _batches(sizes: list[int], *stages: tuple[int, int, int], **options: Any) -> KeyedBatchSampler:
    return KeyedBatchSampler(sizes, stages=[Stage(*stage) for stage in stages], **options)


def _indices(batches: KeyedBatchSampler, epoch: int) -> list[int]:
    return [index for batch in batches.from_step(epoch * len(batches)) for _, index, _ in batch]


def test_an_epoch_draws_every_sample_once_in_its_own_order() -> None:
    batches = _batches([10], (0, 32, 3), seed=1)
    orders = [_indices(batches, epoch) for epoch in (0, 1, 0)]
    assert len(set(orders[0])) == 9 == 3 * len(batches)  # the tenth doesn't fill a batch
    assert orders[0] == orders[2] != orders[1]
    assert {(epoch, size) for batch in batches.from_step(12) for epoch, _, size in batch} == {(4, 32)}


def test_processes_share_the_same_global_batches() -> None:
    alone = list(_batches([12], (0, 32, 4)))
    shares = [list(_batches([12], (0, 32, 4), rank=rank, world_size=2)) for rank in (0, 1)]
    for whole, *parts in zip(alone, *shares, strict=True):
        assert sorted(whole) == sorted(key for part in parts for key in part)
        assert [len(part) for part in parts] == [2, 2]


def test_crop_and_batch_size_change_with_the_training_step() -> None:
    """An epoch has four steps; the second stage begins at step 3, the third at step 6, in the second epoch."""
    batches = _batches([8], (6, 64, 3), (0, 16, 2), (3, 32, 1))
    seen = []
    for epoch in range(3):
        assert len(batches) == 4
        seen.append([(len(batch), {size for _, _, size in batch}) for batch in batches.from_step(4 * epoch)])
    assert seen[0] == [(2, {16}), (2, {16}), (2, {16}), (1, {32})]
    assert seen[1] == [(1, {32}), (1, {32}), (3, {64}), (3, {64})]
    assert seen[2] == [(3, {64})] * 4
    drawn = _indices(batches, 2)
    assert sorted(drawn[:8]) == list(range(8))  # each once before any is repeated
    assert set(drawn[8:]) <= set(range(8))


def test_parts_are_drawn_by_weight() -> None:
    batches = _batches([30, 70], (0, 32, 10), weights=[3.0, 1.0])
    drawn = [index for epoch in range(40) for index in _indices(batches, epoch)]
    assert np.mean([index < 30 for index in drawn]) == pytest.approx(0.75, abs=0.02)
    assert set(drawn) == set(range(100))
    once = _indices(batches, 0)
    first = [index for index in once if index < 30]
    assert sorted(first[:30]) == list(range(30))
    assert once == _indices(_batches([30, 70], (0, 32, 10), weights=[3.0, 1.0]), 0)


def test_evaluation_is_in_order_with_the_same_number_of_images_for_each_process() -> None:
    shares = [[batch[0][1] for batch in SequentialBatchSampler(5, rank=rank, world_size=2)] for rank in (0, 1)]
    assert shares == [[0, 2, 4], [1, 3, 0]]
    assert [len(SequentialBatchSampler(5, rank=rank, world_size=2)) for rank in (0, 1)] == [3, 3]
    assert list(SequentialBatchSampler(3)) == [[(0, 0, 0)], [(0, 1, 0)], [(0, 2, 0)]]


def test_the_schedule_changes_the_batches(write_pairs: WritePairs) -> None:
    schedule = [{"step": 1, "size": 16, "batch_size": 4}]
    first, second = _epoch(_module(write_pairs(5), batch_size=2, workers=2, schedule=schedule), epoch=0)
    assert first["blurred"].shape == (2, 3, 32, 32)
    assert second["blurred"].shape == (4, 3, 16, 16)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ([{"step": 1, "size": 16}], "loader.schedule must be a list of step, size and batch_size"),
        ([{"step": 0, "size": 16, "batch_size": 2}], "steps must be above 0"),
        ([{"step": 5, "size": 16, "batch_size": 0}], "at least 1"),
    ],
)
def test_an_invalid_schedule_is_refused(schedule: list[dict], message: str, write_pairs: WritePairs) -> None:
    with pytest.raises(UserError, match=message):
        _module(write_pairs(4), batch_size=2, schedule=schedule)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_batches_do_not_depend_on_the_number_of_workers(write_pairs: WritePairs, workers: int) -> None:
    folders = write_pairs(9)
    none, some = (_epoch(_module(folders, batch_size=4, workers=n), epoch=3) for n in (0, workers))
    assert len(none) == 2
    for a, b in zip(none, some, strict=True):
        assert a["name"] == b["name"]
        assert torch.equal(a["blurred"], b["blurred"])
        assert torch.equal(a["sharp"], b["sharp"])
        assert a["blurred"].dtype == torch.uint8


def test_evaluation_batches_are_single_whole_images(write_pairs: WritePairs) -> None:
    folders = write_pairs(10)
    (loader,) = _module(folders, batch_size=4, workers=0).val_dataloader()
    (batch,) = list(loader)
    assert batch["blurred"].shape == (1, 3, 48, 64)
    assert batch["name"] == ["009"]


def test_a_batch_that_cannot_be_filled_or_divided_is_refused(write_pairs: WritePairs) -> None:
    folders = write_pairs(4)
    with pytest.raises(UserError, match="3 training samples don't fill a batch of 8"):
        _module(folders, batch_size=8).train_dataloader()
    with pytest.raises(UserError, match="batch_size=3 can't be divided evenly among 2 processes"):
        _module(folders, world=2, batch_size=3).train_dataloader()


class _ListsWorkers(pl.LightningModule):
    """Model of one parameter that notes the worker processes during each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(()))
        self.workers: list[set[int | None]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        return self.parameter * batch["blurred"].float().mean()

    def validation_step(self, batch: dict, batch_idx: int) -> None:
        self.workers.append({process.pid for process in multiprocessing.active_children()})


@pytest.mark.parametrize("limit", [1.0, 2])  # whole validations, and ones that end while workers still read
def test_the_workers_serve_all_validations_and_end_with_the_training(
    write_pairs: WritePairs, tmp_path: Path, limit: float
) -> None:
    blurred, sharp = write_pairs(80)  # of which 8 are for validation
    data = DataModule(
        data=Folders(blurred=str(blurred), sharp=str(sharp)), augmentations=lambda _: CROPS[32], size=32, batch_size=2,
        workers=2,
    )  # fmt: skip
    before = {process.pid for process in multiprocessing.active_children()}
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=6, val_check_interval=2, limit_val_batches=limit, num_sanity_val_steps=0,
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    model = _ListsWorkers()
    trainer.fit(model, datamodule=data)
    assert len(model.workers) == 3 * (2 if limit == 2 else 8)
    (workers,) = {frozenset(pids - before) for pids in model.workers}
    assert len(workers) == 2 + 2
    assert not workers & {process.pid for process in multiprocessing.active_children()}
