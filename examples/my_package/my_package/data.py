"""Data set of one's own: photographs of scikit-image, blurred with a square kernel."""

import numpy as np
import skimage.data
from scipy.ndimage import uniform_filter

from deblurlab.datasets import ImageSet, Pair, Split

NAMES: dict[Split, list[str]] = {"train": ["astronaut", "chelsea"], "val": ["coffee"], "test": ["rocket"]}


class Photographs(ImageSet):
    """Pairs of a photograph and its copy, blurred with a square kernel of side `side`."""

    def __init__(self, *, side: int = 5) -> None:
        self.side = side

    def items(self, split: Split) -> list[Pair]:
        """Return the pairs of a split; `read` is given the names of their images."""
        return [Pair(name, f"{name} blurred", f"{name} sharp") for name in NAMES[split]]

    def read(self, reference: str) -> np.ndarray:
        """Return an image, `(H, W, 3)` uint8."""
        name, side = reference.split()
        image = getattr(skimage.data, name)()
        return uniform_filter(image, (self.side, self.side, 1)) if side == "blurred" else image
