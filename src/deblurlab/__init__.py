"""deblurlab: training, ablation, evaluation and application of image deblurring networks."""

import os
import sys

import lazy_loader

if sys.platform == "win32":
    raise ImportError("deblurlab doesn't run on Windows: use Linux, macOS or the Windows Subsystem for Linux")

# albumentations contacts the package index at import unless this is set.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
