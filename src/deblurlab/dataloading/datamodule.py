"""Loaders for training, validation and tests."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, get_args

import cv2
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from deblurlab.dataloading.augmentation import Augmentation
from deblurlab.dataloading.loader import Loader, Substituted, calm_worker, files_of
from deblurlab.dataloading.sampler import Key, KeyedBatches, OrderedBatches, Stage
from deblurlab.datasets.base import Pair
from deblurlab.datasets.samples import PairDataset, Sample
from deblurlab.datasets.sets import PairSet
from deblurlab.errors import UserError

_LOG = logging.getLogger(__name__)
_TOLD = 10
"""Unreadable images that are named."""
Unreadable = Literal["stop", "skip"]


class DataModule(pl.LightningDataModule):
    """Feeds a data set to the trainer: augmented crops to train on, whole images one by one to validate and test on.

    Args:
        data: What is trained, validated and tested on.
        augmentations: Makes the augmentation whose crops have a given side.
        size: Side of the crops.
        batch_size: Pairs of one step over all processes.
        repeat: How often an epoch draws every pair, each time with another augmentation.
        schedule: Crops and batches of later steps: `{"step": first step, "size": ..., "batch_size": ...}` each. Epochs
            keep their number of steps.
        workers: Processes that read and decode; by default as many as there are processors, at most 8; 0 reads in
            the main process.
        unreadable: What to do with an image that can't be read in the midst of a training: "stop", naming it, or
            "skip" it: the next sample stands in, with a warning, and they are counted.
        timeout: Seconds within which the workers must have read a batch; 0 waits for ever.
        retries: How often in a row workers that have died or taken too long are started anew.
        seed: Of the order and of the augmentations.

    Raises:
        UserError: The training set is smaller than a batch, a batch can't be shared evenly by the processes, or the
            schedule can't be read.
    """

    def __init__(
        self,
        *,
        data: PairSet,
        augmentations: Callable[[int], Augmentation],
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
            raise UserError(f"loader.unreadable={unreadable} is unknown: {', '.join(get_args(Unreadable))}")
        if timeout < 0 or retries < 0:
            raise UserError(f"loader.timeout={timeout:g} and loader.retries={retries} must be at least 0")
        try:
            stages = [Stage(0, size, batch_size), *(Stage(**stage) for stage in schedule)]
        except TypeError as error:
            raise UserError(f"loader.schedule is a list of step, size and batch_size: {error}") from error
        if repeat < 1 or min(stage.batch_size for stage in stages) < 1 or min(stage.size for stage in stages) < 1:
            raise UserError(f"loader.batch_size={batch_size}, loader.repeat={repeat} and sizes must be at least 1")
        if len({stage.step for stage in stages}) < len(stages) or min(stage.step for stage in stages) < 0:
            raise UserError("loader.schedule: steps are above 0, and each has one size and one batch_size")
        self.data = data
        self._augmentations = {stage.size: augmentations(stage.size) for stage in stages}
        self._stages, self._repeat, self._seed = stages, repeat, seed
        self._workers = min(8, os.cpu_count() or 1) if workers is None else workers
        self._unreadable, self._timeout, self._retries = unreadable, timeout, retries
        self.substituted = 0
        """Samples that others stood in for."""

    def prepare_data(self) -> None:
        self.data.prepare()

    def train_dataloader(self) -> Loader:
        training = self.data.training(self._augmentations, repeat=self._repeat, seed=self._seed)
        self._finish = training.finish
        trainer, first = self._trainer(), self._stages[0]
        if sum(training.sizes) < first.batch_size:
            raise UserError(
                f"{sum(training.sizes)} training pairs don't fill a batch of {first.batch_size}: lower "
                f"loader.batch_size or raise loader.repeat"
            )
        for stage in self._stages:
            if stage.batch_size % trainer.world_size:
                raise UserError(
                    f"loader.batch_size={stage.batch_size} can't be shared evenly by {trainer.world_size} processes"
                )
        batches = KeyedBatches(
            training.sizes,
            stages=self._stages,
            weights=training.weights,
            seed=self._seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
            step=lambda: trainer.global_step,
        )
        dataset = Substituted(training.dataset) if self._unreadable == "skip" else training.dataset
        return self._loader(dataset, batches, files=files_of(training.dataset), persistent=True)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        for why in filter(None, batch.pop("unreadable", ())):
            self.substituted += 1
            if self.substituted <= _TOLD:
                more = "" if self.substituted < _TOLD else "; others are counted and not named"
                _LOG.warning("%s. The next sample stands in for it%s.", why, more)
        return batch

    def state_dict(self) -> dict[str, Any]:
        return {"substituted": self.substituted}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.substituted = state_dict["substituted"]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self._finish(batch) if self._trainer().training else batch

    def val_dataloader(self) -> list[Loader]:
        pairs = self.data.val()
        return [self._evaluation(pairs)] if pairs else []

    def test_dataloader(self) -> list[Loader]:
        return [self._evaluation(pairs) for pairs in self.test_sets().values()]

    def test_sets(self) -> dict[str, list[Pair]]:
        """The test sets by name; for data without any, the validation pairs as "val"."""
        return self.data.tests() or {"val": self.data.val()}

    def _evaluation(self, pairs: list[Pair]) -> Loader:
        trainer = self._trainer()
        batches = OrderedBatches(len(pairs), rank=trainer.global_rank, world=trainer.world_size)
        dataset = PairDataset(pairs, reader=self.data.reader())
        return self._loader(dataset, batches, files=files_of(dataset), persistent=False)

    def _loader(
        self, dataset: Dataset[Any], batches: Sampler[list[Key]], *, files: Callable[[Key], list[str]], persistent: bool
    ) -> Loader:
        timeout = self._timeout if self._workers else 0

        def make(sampler: Sampler[list[Key]]) -> DataLoader[Sample]:
            return DataLoader(
                dataset,
                batch_sampler=sampler,
                num_workers=self._workers,
                persistent_workers=self._workers > 0 and persistent,
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=_begin_worker,
                # Otherwise every epoch draws a number from the global stream, and a resumed run misses one.
                generator=torch.Generator(),
            )

        return Loader(make, batches, files=files, retries=self._retries, timeout=timeout)

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None, "the data module belongs to no trainer"
        return self.trainer


def _begin_worker(worker: int) -> None:
    cv2.setNumThreads(0)
    calm_worker(worker)
