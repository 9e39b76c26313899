"""Loaders, batches and augmentation."""

from deblurlab.dataloading.augmentation import Augmentation
from deblurlab.dataloading.datamodule import DataModule
from deblurlab.dataloading.sampler import KeyedBatches, OrderedBatches, Stage

__all__ = [
    "Augmentation",
    "DataModule",
    "KeyedBatches",
    "OrderedBatches",
    "Stage",
]
