"""Loaders for training, validation and tests."""

import os

import cv2
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from deblurlab.data.augmentation import Augmentation
from deblurlab.data.dataset import PairDataset, Sample
from deblurlab.data.pairs import Pair, PairSet
from deblurlab.data.sampler import KeyedBatches
from deblurlab.errors import UserError


class DataModule(pl.LightningDataModule):
    """Feeds a data set to the trainer: augmented crops to train on, whole images one by one to validate and test on.

    `batch_size` counts the pairs of one step over all processes. `repeat` draws every pair that often per epoch, each
    time with another augmentation. `workers` processes read and decode; by default as many as there are processors,
    at most 8; 0 reads in the main process.

    Raises:
        UserError: The training set is smaller than a batch, or the batch can't be shared evenly by the processes.
    """

    def __init__(
        self,
        *,
        data: PairSet,
        augmentation: Augmentation,
        batch_size: int,
        repeat: int = 1,
        workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or repeat < 1:
            raise UserError(f"loader.batch_size={batch_size} and loader.repeat={repeat} must be at least 1")
        self.data = data
        self._augmentation = augmentation
        self._batch_size, self._repeat, self._seed = batch_size, repeat, seed
        self._workers = min(8, os.cpu_count() or 1) if workers is None else workers

    def prepare_data(self) -> None:
        self.data.prepare()

    def train_dataloader(self) -> DataLoader[Sample]:
        dataset = PairDataset(
            self.data.train(),
            augmentation=self._augmentation,
            seed=self._seed,
            repeat=self._repeat,
            reader=self.data.reader(),
        )
        world = self._trainer().world_size
        if len(dataset) < self._batch_size:
            raise UserError(
                f"{len(dataset)} training pairs don't fill a batch of {self._batch_size}: lower loader.batch_size or "
                f"raise loader.repeat"
            )
        if self._batch_size % world:
            raise UserError(f"loader.batch_size={self._batch_size} can't be shared evenly by {world} processes")
        return self._loader(dataset, batch_size=self._batch_size, shuffle=True)

    def val_dataloader(self) -> list[DataLoader[Sample]]:
        pairs = self.data.val()
        return [self._evaluation(pairs)] if pairs else []

    def test_dataloader(self) -> list[DataLoader[Sample]]:
        return [self._evaluation(pairs) for pairs in self.test_sets().values()]

    def test_sets(self) -> dict[str, list[Pair]]:
        """The test sets by name; for data without any, the validation pairs as "val"."""
        return self.data.tests() or {"val": self.data.val()}

    def _evaluation(self, pairs: list[Pair]) -> DataLoader[Sample]:
        return self._loader(
            PairDataset(pairs, reader=self.data.reader()), batch_size=self._trainer().world_size, shuffle=False
        )

    def _loader(self, dataset: PairDataset, *, batch_size: int, shuffle: bool) -> DataLoader[Sample]:
        trainer = self._trainer()
        batches = KeyedBatches(
            len(dataset),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=self._seed,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=self._workers,
            persistent_workers=self._workers > 0 and shuffle,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_one_thread,
            # Otherwise every epoch draws a number from the global stream, and a resumed run misses one.
            generator=torch.Generator(),
        )

    def _trainer(self) -> pl.Trainer:
        assert self.trainer is not None, "the data module belongs to no trainer"
        return self.trainer


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
