"""LightningModules: how networks are trained."""

from deblurlab.training.cycle import CycleRestoration
from deblurlab.training.module import Restoration
from deblurlab.training.paired import PairedRestoration

__all__ = ["CycleRestoration", "PairedRestoration", "Restoration"]
