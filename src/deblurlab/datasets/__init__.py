"""Data sets."""

from deblurlab.datasets.base import Pair, Single, Unreferenced
from deblurlab.datasets.disjoint import Disjoint
from deblurlab.datasets.endless import EndlessScenes
from deblurlab.datasets.gopro import GoPro
from deblurlab.datasets.hide import HIDE
from deblurlab.datasets.kohler import Kohler
from deblurlab.datasets.mixed import Mixed
from deblurlab.datasets.pairs import Folders
from deblurlab.datasets.realblur import RealBlur, RSBlur
from deblurlab.datasets.reds import REDS
from deblurlab.datasets.samples import PairDataset, Sample
from deblurlab.datasets.sets import PairSet
from deblurlab.datasets.streaming import Streaming
from deblurlab.datasets.synthetic import Synthetic
from deblurlab.datasets.unpaired import Unpaired

__all__ = [
    "HIDE",
    "REDS",
    "Disjoint",
    "EndlessScenes",
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
    "Single",
    "Streaming",
    "Synthetic",
    "Unpaired",
    "Unreferenced",
]
