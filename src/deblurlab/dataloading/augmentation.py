"""Paired augmentation with albumentations."""

from collections.abc import Sequence

import albumentations as A
import numpy as np
import numpy.typing as npt

from deblurlab._compat import crop_size_error

Image = npt.NDArray[np.uint8]


class Augmentation:
    """Random transform of a blurred image and its sharp reference, both `(H, W, 3)` uint8, to `(size, size, 3)`.

    The result is a function of the images and the key alone.

    Args:
        size: Side of the result in pixels.
        transforms: Transforms of albumentations, applied to both images with the same parameters. Noise or compression
            doesn't belong here, because it would also be in the target.
        degradations: Transforms of albumentations for the blurred image alone, applied afterwards.
        cutblur: Share of samples with CutBlur (Yoo et al., "Rethinking Data Augmentation for Image Super-resolution",
            CVPR 2020, section 3). Half of these have a random rectangle of the sharp image pasted into the blurred one,
            the other half a rectangle of the blurred image in the sharp one.

    Raises:
        ValueError: On use: the images differ in size, or the result doesn't have the side `size`.
    """

    def __init__(
        self,
        *,
        size: int,
        transforms: Sequence[A.BasicTransform],
        degradations: Sequence[A.BasicTransform] = (),
        cutblur: float = 0.0,
    ) -> None:
        self._size, self._cutblur = size, cutblur
        self._compose = A.Compose(list(transforms), additional_targets={"sharp": "image"})
        self._degrade = A.Compose(list(degradations)) if degradations else None

    def __call__(self, blurred: Image, sharp: Image, *, key: tuple[int, ...]) -> tuple[Image, Image]:
        """Return both images transformed. `key` seeds the random numbers."""
        seeds = np.random.SeedSequence(key).generate_state(3)
        self._compose.set_random_seed(int(seeds[0]))
        try:
            result = self._compose(image=blurred, sharp=sharp)
        except crop_size_error() as error:
            raise ValueError(f"the crop is larger than the image ({self._size}x{self._size})") from error
        blurred, sharp = result["image"], result["sharp"]
        if blurred.shape != (self._size, self._size, 3):
            raise ValueError(f"the transforms return {blurred.shape}, not {self._size}x{self._size} pixels")
        if self._degrade is not None:
            self._degrade.set_random_seed(int(seeds[1]))
            blurred = self._degrade(image=blurred)["image"]
            if blurred.shape != sharp.shape:
                raise ValueError(
                    f"the degradations return {blurred.shape} for {sharp.shape}: they may not change the size"
                )
        if self._cutblur:
            blurred = _cutblur(np.random.default_rng(seeds[2]), blurred, sharp, self._cutblur)
        return blurred, sharp


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
