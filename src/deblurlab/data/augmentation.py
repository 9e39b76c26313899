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
    to keep it.

    Raises:
        ValueError: On use: the images differ in size, can't be brought to `size`, or aren't.
    """

    def __init__(self, *, size: int, transforms: Sequence[A.BasicTransform]) -> None:
        self._size = size
        self._compose = A.Compose(list(transforms), additional_targets={"sharp": "image"})

    def __call__(self, blurred: Image, sharp: Image, *, key: tuple[int, ...]) -> tuple[Image, Image]:
        self._compose.set_random_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        try:
            result = self._compose(image=blurred, sharp=sharp)
        except CropSizeError as error:
            raise ValueError(f"the crop is larger than the image ({self._size}x{self._size})") from error
        if result["image"].shape != (self._size, self._size, 3):
            raise ValueError(f"the transforms make {result['image'].shape}, not {self._size}x{self._size} pixels")
        return result["image"], result["sharp"]
