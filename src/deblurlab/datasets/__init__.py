"""Data sets: image files on disk, and samples as tensors."""

from deblurlab.datasets.base import PairSet, TrainingData
from deblurlab.datasets.gopro import GoPro
from deblurlab.datasets.hide import HIDE
from deblurlab.datasets.kohler import Kohler
from deblurlab.datasets.listing import Pair, Single, Unreferenced
from deblurlab.datasets.mixed import Mixed
from deblurlab.datasets.pairs import Folders
from deblurlab.datasets.realblur import RealBlur, RSBlur
from deblurlab.datasets.reds import REDS
from deblurlab.datasets.samples import PairDataset, Sample, UnpairedDataset
from deblurlab.datasets.streaming import Streaming
from deblurlab.datasets.synthetic import Synthetic
from deblurlab.datasets.synthetic_scenes import SceneDataset
from deblurlab.datasets.unpaired import Disjoint, Unpaired

__all__ = [
    "HIDE",
    "REDS",
    "Disjoint",
    "Folders",
    "GoPro",
    "Kohler",
    "Mixed",
    "Pair",
    "PairDataset",
    "PairSet",
    "RSBlur",
    "RealBlur",
    "Sample",
    "SceneDataset",
    "Single",
    "Streaming",
    "Synthetic",
    "TrainingData",
    "Unpaired",
    "UnpairedDataset",
    "Unreferenced",
]
