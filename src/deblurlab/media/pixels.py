"""Pixel arrays and images that are read row by row."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
"""`(H, W, C)`, C = 1 (grey) or 3 and optional alpha channels; uint8, uint16, or floats in [0, 1]."""


@dataclass(frozen=True)
class Orientation:
    """Turn and reflection that show an image upright: a transposition, then a flip of each axis."""

    transpose: bool = False
    flip_vertical: bool = False
    flip_horizontal: bool = False

    def apply(self, pixels: Pixels) -> Pixels:
        """Return the upright pixels, `(H, W, C)`."""
        upright = pixels.swapaxes(0, 1) if self.transpose else pixels
        rows, columns = slice(None, None, 1 - 2 * self.flip_vertical), slice(None, None, 1 - 2 * self.flip_horizontal)
        return np.ascontiguousarray(upright[rows, columns])

    @classmethod
    def of_exif(cls, number: int) -> "Orientation":
        """Return the orientation that has a number from 1 to 8 in EXIF."""
        return cls(transpose=number >= 5, flip_vertical=number in (3, 4, 7, 8), flip_horizontal=number in (2, 3, 6, 7))


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
