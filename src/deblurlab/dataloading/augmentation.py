"""Paired augmentation with albumentations."""

from collections.abc import Sequence

import albumentations as A
import numpy as np
import numpy.typing as npt
from albumentations.augmentations.crops.transforms import CropSizeError

Image = npt.NDArray[np.uint8]


class Augmentation:
    """Applies the same random `transforms` to a blurred image and its sharp twin, both `(H, W, 3)` uint8; what comes
    out is `size` x `size`.

    What a sample looks like is a function of its key alone, not of the worker that makes it or of what it made
    before. Every transform applies to both images: one that degrades (noise, compression) would teach the network
    to keep it. Those belong into `degradations`, which the blurred image alone goes through afterwards.

    `cutblur` is the share of samples in which a random rectangle of one image is pasted into the blurred one's place:
    half of them show the sharp image there, half of them everywhere else, so that the network learns where to do
    nothing (Yoo et al., "Rethinking Data Augmentation for Image Super-resolution", CVPR 2020, section 3).

    Raises:
        ValueError: On use: the images differ in size, can't be brought to `size`, or aren't.
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
        seeds = np.random.SeedSequence(key).generate_state(3)
        self._compose.set_random_seed(int(seeds[0]))
        try:
            result = self._compose(image=blurred, sharp=sharp)
        except CropSizeError as error:
            raise ValueError(f"the crop is larger than the image ({self._size}x{self._size})") from error
        blurred, sharp = result["image"], result["sharp"]
        if blurred.shape != (self._size, self._size, 3):
            raise ValueError(f"the transforms make {blurred.shape}, not {self._size}x{self._size} pixels")
        if self._degrade is not None:
            self._degrade.set_random_seed(int(seeds[1]))
            blurred = self._degrade(image=blurred)["image"]
            if blurred.shape != sharp.shape:
                raise ValueError(f"the degradations make {blurred.shape} of {sharp.shape}: they may not move pixels")
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
