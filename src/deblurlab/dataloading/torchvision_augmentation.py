"""Paired augmentation with torchvision.transforms.v2."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2
from torchvision.tv_tensors import Image as TVImage

from deblurlab.dataloading.keyed import Image, KeyedAugmentation


class TorchvisionAugmentation(KeyedAugmentation):
    """Random transform of a blurred image and its sharp reference, both `(H, W, 3)` uint8, to `(size, size, 3)`.

    The result is a function of the images and the key alone. The random numbers of the process aren't used or changed.

    Args:
        size: Side of the result in pixels.
        transforms: Transforms of `torchvision.transforms.v2`, applied to both images with the same parameters. Noise or
            compression doesn't belong here, because it would also be in the target.
        degradations: Transforms of `torchvision.transforms.v2` for the blurred image alone, applied afterwards.
        cutblur: Share of samples with CutBlur, as in `KeyedAugmentation`.

    Raises:
        ValueError: On use: the images differ in size, or the result isn't uint8 or doesn't have the side `size`.
    """

    def __init__(
        self,
        *,
        size: int,
        transforms: Sequence[v2.Transform],
        degradations: Sequence[v2.Transform] = (),
        cutblur: float = 0.0,
    ) -> None:
        super().__init__(size=size, cutblur=cutblur)
        self._transforms, self._degradations = list(transforms), list(degradations)

    def _transform(self, blurred: Image, sharp: Image, seed: int) -> tuple[Image, Image]:
        if blurred.shape != sharp.shape:
            raise ValueError(f"the blurred image has shape {blurred.shape}, the sharp one {sharp.shape}")
        first, second = _apply(self._transforms, (_to_tensor(blurred), _to_tensor(sharp)), seed)
        return _to_array(first), _to_array(second)

    def _degrade(self, blurred: Image, seed: int) -> Image:
        return _to_array(_apply(self._degradations, _to_tensor(blurred), seed)) if self._degradations else blurred


def _apply(transforms: Sequence[Callable[[Any], Any]], images: Any, seed: int) -> Any:
    """Return one image or a tuple of images, transformed with torch's random numbers from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU alone: torch.manual_seed also queues calls for GPUs
        for transform in transforms:
            images = transform(images)
    return images


def _to_tensor(image: Image) -> TVImage:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # the frame store's
        return TVImage(torch.from_numpy(image).permute(2, 0, 1))


def _to_array(image: torch.Tensor) -> Image:
    if image.dtype != torch.uint8:
        raise ValueError(f"the transforms return {image.dtype}, not uint8")
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())
