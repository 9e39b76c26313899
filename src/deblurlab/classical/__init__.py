"""Restoration without training data: functions of (image, psf) on NumPy arrays.

Images are float64 `(H, W, C)` or `(H, W)` in [0, 1], blur kernels (psf) `(k, k)` with sum 1.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
