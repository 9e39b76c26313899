"""Lightning callbacks: measurement, checkpoints, resuming, weight averaging and fault handling."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
