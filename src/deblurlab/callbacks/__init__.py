"""What happens around the training step."""

from deblurlab.callbacks.checkpoints import Checkpoints
from deblurlab.callbacks.collapse import Collapse
from deblurlab.callbacks.ema import EMA
from deblurlab.callbacks.freeze import FreezeBackbone
from deblurlab.callbacks.kid import KID
from deblurlab.callbacks.metrics import PerImage, Quality
from deblurlab.callbacks.nonfinite import GoBack, Trouble
from deblurlab.callbacks.preemption import Interruption
from deblurlab.callbacks.progress import TrainingProgress
from deblurlab.callbacks.resume import Continuation, FitLoop
from deblurlab.callbacks.samples import Samples

__all__ = [
    "EMA",
    "KID",
    "Checkpoints",
    "Collapse",
    "Continuation",
    "FitLoop",
    "FreezeBackbone",
    "GoBack",
    "Interruption",
    "PerImage",
    "Quality",
    "Samples",
    "TrainingProgress",
    "Trouble",
]
