"""Pairs of images: where they lie, how they are read, augmented and batched."""

from deblurlab.data.augmentation import Augmentation
from deblurlab.data.datamodule import DataModule
from deblurlab.data.dataset import PairDataset, Sample
from deblurlab.data.gopro import GoPro
from deblurlab.data.hide import HIDE
from deblurlab.data.kohler import Kohler
from deblurlab.data.mixed import Mixed
from deblurlab.data.pairs import Folders, Pair, PairSet
from deblurlab.data.realblur import RealBlur, RSBlur
from deblurlab.data.reds import REDS
from deblurlab.data.sampler import KeyedBatches, OrderedBatches, Stage
from deblurlab.data.synthetic import Synthetic

__all__ = [
    "HIDE",
    "REDS",
    "Augmentation",
    "DataModule",
    "Folders",
    "GoPro",
    "KeyedBatches",
    "Kohler",
    "Mixed",
    "OrderedBatches",
    "Pair",
    "PairDataset",
    "PairSet",
    "RSBlur",
    "RealBlur",
    "Sample",
    "Stage",
    "Synthetic",
]
