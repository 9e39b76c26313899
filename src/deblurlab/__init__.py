"""deblurlab: training, ablation, evaluation and application of image deblurring networks."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deblurlab.inference.predictor import Restorer as Restorer

# albumentations contacts the package index at import unless this is set.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `deblurlab.Restorer` on first access: torch takes seconds to load."""
    if name == "Restorer":
        from deblurlab.inference.predictor import Restorer

        return Restorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
