"""Loss terms, one file each. The loss of a training run is their weighted sum."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
