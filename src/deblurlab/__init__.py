"""deblurlab: a laboratory for image deblurring on PyTorch Lightning and Hydra."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblurlab.inference.predictor import Restorer as Restorer

# albumentations asks the package index for a newer version whenever it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`deblurlab.Restorer`, when somebody asks for it: torch takes seconds to load."""
    if name == "Restorer":
        from deblurlab.inference.predictor import Restorer

        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
