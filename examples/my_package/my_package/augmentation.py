"""Augmentation of one's own."""

import numpy as np


class PermuteChannels:
    """Random crop with the colour channels in random order.

    Args:
        size: Side of the crop in pixels.
    """

    def __init__(self, *, size: int) -> None:
        self.size = size

    def __call__(self, blurred: np.ndarray, sharp: np.ndarray, *, key: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """Return both images, `(H, W, 3)` uint8, transformed alike. `key` seeds the random numbers."""
        rng = np.random.default_rng(key)
        top, left = (int(rng.integers(side - self.size + 1)) for side in sharp.shape[:2])
        channels = rng.permutation(3)
        return tuple(x[top : top + self.size, left : left + self.size, channels] for x in (blurred, sharp))
