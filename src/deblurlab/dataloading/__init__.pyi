from .augmentation import Augmentation as Augmentation
from .datamodule import DataModule as DataModule
from .sampler import KeyedBatchSampler as KeyedBatchSampler
from .sampler import SequentialBatchSampler as SequentialBatchSampler
from .sampler import Stage as Stage
