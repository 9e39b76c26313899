from .cycle import CycleRestoration as CycleRestoration
from .module import Restoration as Restoration
from .paired import PairedRestoration as PairedRestoration
from .settings import StepSettings as StepSettings
