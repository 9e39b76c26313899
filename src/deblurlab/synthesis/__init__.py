"""Synthetic blur: random scenes, motion, exposure and sensor, in NumPy and OpenCV.

All pixel arithmetic is on integers, so that a seed gives bit-identical images on every processor.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
