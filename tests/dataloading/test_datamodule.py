"""Data module: the same batches for any number of workers and processes."""

import multiprocessing
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from deblurlab.config import instantiate
from deblurlab.dataloading import Augmentation, DataModule
from deblurlab.datasets import Folders
from deblurlab.errors import UserError
from support import config, feeding

WritePairs = Callable[..., tuple[Path, Path]]


@cache
def _crop(size: int) -> Augmentation:
    return instantiate(config("augment=flip_rot", f"augment.size={size}").augment)


def _module(folders: tuple[Path, Path], world: int = 1, rank: int = 0, **arguments: object) -> DataModule:
    data = Folders(blurred=str(folders[0]), sharp=str(folders[1]))
    options = {"augmentations": _crop, "size": 32, **arguments}
    module = DataModule(data=data, **options)  # type: ignore[arg-type]
    return feeding(module, world=world, rank=rank)


def _epoch(module: DataModule, epoch: int, done: int = 0) -> list[dict]:
    """Return the batches of an epoch after the first `done` ones."""
    loader = module.train_dataloader()
    module.trainer.fit_loop.total_batch_idx = epoch * len(loader) + done - 1  # type: ignore[union-attr,misc]
    batches = list(loader)
    loader.close()  # workers of a loader that the garbage collector deletes take up to 25 seconds to end
    return batches


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
        data=Folders(blurred=str(blurred), sharp=str(sharp)), augmentations=_crop, size=32, batch_size=2,
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


@pytest.mark.parametrize("workers", [0, 1])
def test_without_a_trainer_every_pass_is_the_next_epoch(workers: int, write_pairs: WritePairs) -> None:
    folders = write_pairs(9)
    attached, alone = _module(folders, batch_size=2, workers=0), _module(folders, batch_size=2, workers=workers)
    alone.trainer = None
    loader = alone.train_dataloader()
    passes = [list(loader) for _ in range(2)]
    alone.teardown("fit")
    for epoch, batches in enumerate(passes):
        for batch, expected in zip(batches, _epoch(attached, epoch), strict=True):
            assert torch.equal(batch["blurred"], expected["blurred"])


def test_without_a_trainer_files_are_prepared_and_batches_finished(tmp_path: Path) -> None:
    cfg = config("data=synthetic_small", "data.endless=true", f"data.root={tmp_path}", "augment.size=32")
    module = DataModule(
        data=instantiate(cfg.data), augmentations=_crop, size=32, batch_size=2, workers=0, unreadable="skip"
    )
    batches = list(module.train_dataloader())
    assert len(batches) == 2
    for batch in batches:
        assert batch["blurred"].shape == batch["sharp"].shape == (2, 3, 32, 32)
        assert batch["blurred"].dtype == torch.uint8
        assert "unreadable" not in batch
    assert [len(loader) for loader in (*module.val_dataloader(), *module.test_dataloader())] == [1, 5]


class Names(pl.LightningModule):
    """Module of the user that records the names of its training samples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.names = torch.nn.Conv2d(3, 3, 1), list[list[str]]()

    def on_train_epoch_start(self) -> None:
        self.names.append([])

    def training_step(self, batch: dict, batch_idx: int) -> torch.Tensor:
        self.names[-1] += batch["name"]
        return torch.nn.functional.l1_loss(self.layer(batch["blurred"] / 255), batch["sharp"] / 255)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_plain_trainer_draws_every_sample_once_per_epoch(
    accumulate: int, write_pairs: WritePairs, tmp_path: Path
) -> None:
    """With accumulation, `global_step` isn't the number of batches."""
    folders, trained = write_pairs(9), Names()  # one is held out
    module = _module(folders, batch_size=2, workers=0)
    module.trainer = None
    trainer = pl.Trainer(
        max_epochs=3, accumulate_grad_batches=accumulate, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(trained, module)
    assert [sorted(names) for names in trained.names] == [sorted(trained.names[0])] * 3
    assert len(set(trained.names[0])) == 8
    assert trained.names[0] != trained.names[1]
