"""Data loading: from data sets to batches."""

from deblurlab.dataloading.augmentation import Augmentation
from deblurlab.dataloading.datamodule import DataModule
from deblurlab.dataloading.sampler import KeyedBatchSampler, SequentialBatchSampler, Stage

__all__ = [
    "Augmentation",
    "DataModule",
    "KeyedBatchSampler",
    "SequentialBatchSampler",
    "Stage",
]
