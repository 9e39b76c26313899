"""Pairs of images: where they lie, how they are read, augmented and batched."""

from deblurlab.data.augmentation import Augmentation
from deblurlab.data.datamodule import DataModule
from deblurlab.data.dataset import PairDataset, Sample
from deblurlab.data.disjoint import Disjoint
from deblurlab.data.endless import EndlessScenes
from deblurlab.data.folders import Folders
from deblurlab.data.gopro import GoPro
from deblurlab.data.hide import HIDE
from deblurlab.data.kohler import Kohler
from deblurlab.data.mixed import Mixed
from deblurlab.data.pairs import Pair, Single, Strangers
from deblurlab.data.realblur import RealBlur, RSBlur
from deblurlab.data.reds import REDS
from deblurlab.data.sampler import KeyedBatches, OrderedBatches, Stage
from deblurlab.data.sets import PairSet
from deblurlab.data.streaming import Streaming
from deblurlab.data.synthetic import Synthetic
from deblurlab.data.unpaired import Unpaired

__all__ = [
    "HIDE",
    "REDS",
    "Augmentation",
    "DataModule",
    "Disjoint",
    "EndlessScenes",
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
    "Single",
    "Stage",
    "Strangers",
    "Streaming",
    "Synthetic",
    "Unpaired",
]
