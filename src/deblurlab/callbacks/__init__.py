"""Lightning callbacks: measurement, checkpoints, resuming, weight averaging and fault handling."""

from deblurlab.callbacks.checkpoints import Checkpoints
from deblurlab.callbacks.collapse import Collapse
from deblurlab.callbacks.ema import EMA
from deblurlab.callbacks.freeze import FreezeBackbone
from deblurlab.callbacks.metrics import ImageMetrics, PerImage
from deblurlab.callbacks.nonfinite import NonFinite, Rollback
from deblurlab.callbacks.preemption import Preemption
from deblurlab.callbacks.progress import TrainingProgress
from deblurlab.callbacks.resume import ResumeState
from deblurlab.callbacks.samples import Samples

__all__ = [
    "EMA",
    "Checkpoints",
    "Collapse",
    "FreezeBackbone",
    "ImageMetrics",
    "NonFinite",
    "PerImage",
    "Preemption",
    "ResumeState",
    "Rollback",
    "Samples",
    "TrainingProgress",
]
