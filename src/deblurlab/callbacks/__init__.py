"""What happens around the training step."""

from deblurlab.callbacks.checkpoints import Checkpoints, validated
from deblurlab.callbacks.ema import EMA
from deblurlab.callbacks.finite import StopOnNonFinite
from deblurlab.callbacks.freeze import FreezeBackbone
from deblurlab.callbacks.kid import KID
from deblurlab.callbacks.metrics import PerImage, Quality
from deblurlab.callbacks.preemption import Preemption
from deblurlab.callbacks.progress import TrainingProgress
from deblurlab.callbacks.samples import Samples

__all__ = [
    "EMA",
    "KID",
    "Checkpoints",
    "FreezeBackbone",
    "PerImage",
    "Preemption",
    "Quality",
    "Samples",
    "StopOnNonFinite",
    "TrainingProgress",
    "validated",
]
