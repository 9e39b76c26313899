"""Lightning data module."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Literal, get_args

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from deblurlab.dataloading.resilient_loader import ResilientLoader, SkipUnreadable, file_names_of
from deblurlab.dataloading.sampler import KeyedBatchSampler, SequentialBatchSampler, Stage
from deblurlab.dataloading.workers import init_worker
from deblurlab.datasets.base import ImageSet
from deblurlab.datasets.listing import Item
from deblurlab.datasets.samples import Key, PairDataset, PairTransform, Sample
from deblurlab.errors import UserError
from deblurlab.runs.cpus import available_cpus

_LOG = logging.getLogger(__name__)
_MAX_WARNINGS = 10
"""Maximum number of unreadable samples that are named."""
Unreadable = Literal["stop", "skip"]


class DataModule(pl.LightningDataModule):
    """Data module of a data set: augmented crops for training, single whole images for validation and tests.

    It also works with any Lightning trainer and module, and without a trainer: then a loader prepares the files itself,
    every pass over the training loader is another epoch, and its batches need no further steps. A batch is a `Sample`;
    images are uint8.

    Args:
        data: Data set.
        augmentations: Returns the augmentation for a crop size.
        size: Side of the crops in pixels.
        batch_size: Number of samples of a batch over all processes.
        repeat: Number of times that an epoch draws each sample, each time with another augmentation.
        schedule: Crop size and batch size of later stages: `{"step": first step, "size": ..., "batch_size": ...}`. The
            number of steps of an epoch doesn't change.
        workers: Number of worker processes; by default one per CPU, at most 8. 0 loads in the main process.
        unreadable: "stop" raises an error for an unreadable image during training; "skip" uses the next readable
            sample instead, with a warning, and counts it.
        timeout: Maximum time to wait for a batch in seconds; 0 means no limit.
        retries: Maximum number of restarts of dead or stalled workers in a row.
        seed: Seed of the order and of the augmentations.

    Raises:
        UserError: A setting is invalid; on use: the training set is smaller than a batch, or a batch can't be divided
            evenly among the processes.
    """

    def __init__(
        self,
        *,
        data: ImageSet,
        augmentations: Callable[[int], PairTransform],
        size: int,
        batch_size: int,
        repeat: int = 1,
        schedule: Sequence[Mapping[str, int]] = (),
        workers: int | None = None,
        unreadable: Unreadable = "stop",
        timeout: float = 600,
        retries: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if unreadable not in get_args(Unreadable):
            raise UserError(f"loader.unreadable={unreadable} is unknown: choose {' or '.join(get_args(Unreadable))}")
        if not isinstance(timeout, int | float) or timeout < 0:
            raise UserError(f"loader.timeout={timeout} must be a number of seconds, at least 0")
        numbers = {"batch_size": (batch_size, 1), "repeat": (repeat, 1), "workers": (workers or 0, 0)}
        for name, (value, least) in {**numbers, "retries": (retries, 0)}.items():
            if not isinstance(value, int) or value < least:
                raise UserError(f"loader.{name}={value} must be a whole number, at least {least}")
        try:
            stages = [Stage(0, size, batch_size), *(Stage(**stage) for stage in schedule)]
        except TypeError as error:
            raise UserError(f"loader.schedule must be a list of step, size and batch_size: {error}") from error
        if min(min(stage.batch_size, stage.size) for stage in stages) < 1:
            raise UserError(f"augment.size={size} and the sizes in loader.schedule must be at least 1")
        if len({stage.step for stage in stages}) < len(stages) or min(stage.step for stage in stages) < 0:
            raise UserError("loader.schedule: steps must be above 0, and differ from one another")
        self.data = data
        self._augmentations = {stage.size: augmentations(stage.size) for stage in stages}
        self._stages, self._repeat, self._seed = stages, repeat, seed
        self._workers = min(8, available_cpus()) if workers is None else workers
        self._unreadable, self._timeout, self._retries = unreadable, timeout, retries
        self._loaders: list[ResilientLoader] = []
        self.substituted = 0
        """Number of unreadable samples that were replaced."""

    def prepare_data(self) -> None:
        """Generate or check the files on disk."""
        self.data.prepare()

    def teardown(self, stage: str) -> None:
        """End the worker processes."""
        for loader in self._loaders:
            loader.close()

    def train_dataloader(self) -> ResilientLoader:
        """Return the loader of the training samples.

        Without a trainer, `teardown("fit")` ends its worker processes.

        Raises:
            UserError: The training set is smaller than a batch, or a batch can't be divided evenly among the processes.
        """
        self._prepare_alone()
        self.data.open()
        training = self.data.training(self._augmentations, repeat=self._repeat, seed=self._seed)
        self._finish_batch = training.finish_batch
        (rank, world_size), first = self._process(), self._stages[0]
        if sum(training.sizes) < first.batch_size:
            raise UserError(
                f"{sum(training.sizes)} training samples don't fill a batch of {first.batch_size}: lower "
                f"loader.batch_size or raise loader.repeat"
            )
        for stage in self._stages:
            if stage.batch_size % world_size:
                raise UserError(
                    f"loader.batch_size={stage.batch_size} can't be divided evenly among {world_size} "
                    f"processes: choose a multiple"
                )
        epochs = count(step=sum(training.sizes) // first.batch_size)
        batch_sampler = KeyedBatchSampler(
            training.sizes,
            stages=self._stages,
            weights=training.weights,
            seed=self._seed,
            rank=rank,
            world_size=world_size,
            # Batches, not `global_step`: a trainer may accumulate gradients over several batches.
            step=lambda: next(epochs) if self.trainer is None else self.trainer.fit_loop.total_batch_idx + 1,
        )
        dataset = SkipUnreadable(training.dataset) if self._unreadable == "skip" else training.dataset
        loader = self._loader(dataset, batch_sampler, file_names=file_names_of(training.dataset), keep_workers=True)
        if self.trainer is None:  # which would call the hooks
            loader.finish = lambda batch: training.finish_batch(self.on_before_batch_transfer(batch, 0))
        return loader

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Count unreadable samples and warn of them."""
        for message in filter(None, batch.pop("unreadable", ())):
            self.substituted += 1
            if self.substituted <= _MAX_WARNINGS:
                more = "" if self.substituted < _MAX_WARNINGS else "; further ones are counted without a warning"
                _LOG.warning("%s. The next readable sample is used instead%s.", message, more)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the number of replaced samples."""
        return {"substituted": self.substituted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of replaced samples."""
        self.substituted = state_dict["substituted"]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finish a training batch on the device, see `TrainingData.finish_batch`."""
        return self._finish_batch(batch) if self.trainer is not None and self.trainer.training else batch

    def val_dataloader(self) -> list[ResilientLoader]:
        """Return the loader of the validation pairs, if there are any."""
        self._prepare_alone()
        self.data.open()
        items = self.data.items("val")
        return [self._evaluation(items, keep_workers=True)] if items else []

    def test_dataloader(self) -> list[ResilientLoader]:
        """Return one loader per test set."""
        self._prepare_alone()
        self.data.open()
        return [self._evaluation(items, keep_workers=False) for items in self.test_sets().values()]

    def test_sets(self) -> dict[str, Sequence[Item]]:
        """Return the test sets by name, or the validation set as "val" if there are none."""
        return self.data.tests() or {"val": self.data.items("val")}

    def _evaluation(self, items: Sequence[Item], *, keep_workers: bool) -> ResilientLoader:
        rank, world_size = self._process()
        batch_sampler = SequentialBatchSampler(len(items), rank=rank, world_size=world_size)
        dataset = PairDataset(items, reader=self.data.read)
        return self._loader(dataset, batch_sampler, file_names=file_names_of(dataset), keep_workers=keep_workers)

    def _loader(
        self,
        dataset: Dataset[Any],
        batch_sampler: Sampler[list[Key]],
        *,
        file_names: Callable[[Key], list[str]],
        keep_workers: bool,
    ) -> ResilientLoader:
        timeout = self._timeout if self._workers else 0

        def make_loader(sampler: Sampler[list[Key]]) -> DataLoader[Sample]:
            return DataLoader(
                dataset,
                batch_sampler=sampler,
                num_workers=self._workers,
                persistent_workers=self._workers > 0 and keep_workers,
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=init_worker,
                # Without it, every epoch draws a number from the global generator, and a resumed run draws fewer.
                generator=torch.Generator(),
            )

        loader = ResilientLoader(
            make_loader, batch_sampler, file_names=file_names, retries=self._retries, timeout=timeout
        )
        self._loaders.append(loader)
        return loader

    def _prepare_alone(self) -> None:
        """Prepare the files if there is no trainer, which would do so."""
        if self.trainer is None:
            self.prepare_data()

    def _process(self) -> tuple[int, int]:
        """Return the number of this process and the number of processes."""
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)
