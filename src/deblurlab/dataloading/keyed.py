"""What augmentations have in common: random numbers from the sample's key, checks, CutBlur."""

from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]


class KeyedAugmentation(ABC):
    """Random transform of a blurred image and its sharp reference, both `(H, W, 3)` uint8, to `(size, size, 3)`.

    The result is a function of the images and the key alone.

    Args:
        size: Side of the result in pixels.
        cutblur: Share of samples with CutBlur (Yoo et al., "Rethinking Data Augmentation for Image Super-resolution",
            CVPR 2020, section 3). Half of these have a random rectangle of the sharp image pasted into the blurred one,
            the other half a rectangle of the blurred image in the sharp one.

    Raises:
        ValueError: On use: the images differ in size, or the result doesn't have the side `size`.
    """

    def __init__(self, *, size: int, cutblur: float) -> None:
        self._size, self._cutblur = size, cutblur

    def __call__(self, blurred: Image, sharp: Image, *, key: tuple[int, ...]) -> tuple[Image, Image]:
        """Return both images transformed. `key` seeds the random numbers."""
        seeds = [int(seed) for seed in np.random.SeedSequence(key).generate_state(3)]
        blurred, sharp = self._transform(blurred, sharp, seeds[0])
        if blurred.shape != (self._size, self._size, 3):
            raise ValueError(f"the transforms return {blurred.shape}, not {self._size}x{self._size} pixels")
        blurred = self._degrade(blurred, seeds[1])
        if blurred.shape != sharp.shape:
            raise ValueError(f"the degradations return {blurred.shape} for {sharp.shape}: they may not change the size")
        if self._cutblur:
            blurred = _cutblur(np.random.default_rng(seeds[2]), blurred, sharp, self._cutblur)
        return blurred, sharp

    @abstractmethod
    def _transform(self, blurred: Image, sharp: Image, seed: int) -> tuple[Image, Image]:
        """Return both images, transformed with the same parameters."""

    @abstractmethod
    def _degrade(self, blurred: Image, seed: int) -> Image:
        """Return the blurred image after the transforms for it alone."""


def _cutblur(rng: np.random.Generator, blurred: Image, sharp: Image, share: float) -> Image:
    if rng.random() >= share:
        return blurred
    outside, inside = (blurred, sharp) if rng.random() < 0.5 else (sharp, blurred)
    mixed = outside.copy()
    height, width = (int(side * rng.uniform(0.2, 0.7)) for side in blurred.shape[:2])
    top, left = (
        int(rng.integers(0, side - part + 1)) for side, part in zip(blurred.shape, (height, width), strict=False)
    )
    window = slice(top, top + height), slice(left, left + width)
    mixed[window] = inside[window]
    return mixed
