"""Pixel arrays and images that are read row by row."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
"""`(H, W, C)`, C = 1 (grey) or 3 and optional alpha channels; uint8, uint16, or floats in [0, 1]."""


class Rows(Protocol):
    """An image that is read from top to bottom."""

    height: int
    width: int
    colours: int
    """1 (grey) or 3; further channels are not restored."""

    def read(self, count: int) -> Pixels:
        """Return the next `count` rows, `(count, W, C)`."""


class InMemory:
    """`Rows` of an array in memory, `(H, W, C)`."""

    def __init__(self, pixels: Pixels, colours: int = 3) -> None:
        self._pixels, self._next_row, self.colours = pixels, 0, colours
        self.height, self.width = pixels.shape[:2]

    def read(self, count: int) -> Pixels:
        """Return the next `count` rows, `(count, W, C)`."""
        self._next_row += count
        return self._pixels[self._next_row - count : self._next_row]


def full_scale(pixels: Pixels) -> int:
    """Return the value of white: 255, 65535, or 1 for floats."""
    return 1 if pixels.dtype.kind == "f" else int(np.iinfo(pixels.dtype).max)


def round_to(values: Pixels, dtype: npt.DTypeLike) -> Pixels:
    """Return floats in [0, full scale] as `dtype`, rounded if it is an integer type."""
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else np.rint(values).astype(dtype)
