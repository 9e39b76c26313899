"""Pairs of images: where they lie, how they are read, augmented and batched."""

from deblurlab.data.augmentation import Augmentation
from deblurlab.data.datamodule import DataModule
from deblurlab.data.dataset import PairDataset, Sample
from deblurlab.data.gopro import GoPro
from deblurlab.data.pairs import Folders, Pair, PairSet
from deblurlab.data.sampler import KeyedBatches
from deblurlab.data.synthetic import Synthetic

__all__ = [
    "Augmentation",
    "DataModule",
    "Folders",
    "GoPro",
    "KeyedBatches",
    "Pair",
    "PairDataset",
    "PairSet",
    "Sample",
    "Synthetic",
]
