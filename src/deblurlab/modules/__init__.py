"""LightningModules: how networks are trained."""

from deblurlab.modules.cycle import CycleRestoration
from deblurlab.modules.paired import PairedRestoration
from deblurlab.modules.restoration import Restoration

__all__ = ["CycleRestoration", "PairedRestoration", "Restoration"]
