"""deblurlab: a laboratory for image deblurring on PyTorch Lightning and Hydra."""

import os

# albumentations asks the package index for a newer version whenever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
