"""Training: the run, the LightningModules and their step."""

from deblurlab.training.cycle import CycleRestoration
from deblurlab.training.module import Restoration
from deblurlab.training.paired import PairedRestoration
from deblurlab.training.settings import StepSettings

__all__ = ["CycleRestoration", "PairedRestoration", "Restoration", "StepSettings"]
