"""Paired augmentation with albumentations."""

from collections.abc import Sequence

import albumentations as A

from deblurlab._compat import crop_size_error
from deblurlab.dataloading.keyed import Image, KeyedAugmentation


class Augmentation(KeyedAugmentation):
    """Random transform of a blurred image and its sharp reference, both `(H, W, 3)` uint8, to `(size, size, 3)`.

    The result is a function of the images and the key alone.

    Args:
        size: Side of the result in pixels.
        transforms: Transforms of albumentations, applied to both images with the same parameters. Noise or compression
            doesn't belong here, because it would also be in the target.
        degradations: Transforms of albumentations for the blurred image alone, applied afterwards.
        cutblur: Share of samples with CutBlur, as in `KeyedAugmentation`.

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
        super().__init__(size=size, cutblur=cutblur)
        self._compose = A.Compose(list(transforms), additional_targets={"sharp": "image"})
        self._degradations = A.Compose(list(degradations)) if degradations else None

    def _transform(self, blurred: Image, sharp: Image, seed: int) -> tuple[Image, Image]:
        self._compose.set_random_seed(seed)
        try:
            result = self._compose(image=blurred, sharp=sharp)
        except crop_size_error() as error:
            raise ValueError(f"the crop is larger than the image ({self._size}x{self._size})") from error
        return result["image"], result["sharp"]

    def _degrade(self, blurred: Image, seed: int) -> Image:
        if self._degradations is None:
            return blurred
        self._degradations.set_random_seed(seed)
        return self._degradations(image=blurred)["image"]
