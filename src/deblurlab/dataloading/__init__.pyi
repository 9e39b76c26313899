from .augmentation import Augmentation as Augmentation
from .datamodule import DataModule as DataModule
from .keyed import KeyedAugmentation as KeyedAugmentation
from .sampler import KeyedBatchSampler as KeyedBatchSampler
from .sampler import SequentialBatchSampler as SequentialBatchSampler
from .sampler import Stage as Stage
from .torchvision_augmentation import TorchvisionAugmentation as TorchvisionAugmentation
