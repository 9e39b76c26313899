"""Samples as tensors: map-style data sets over lists of items."""

from collections.abc import Mapping, Sequence
from typing import NotRequired, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deblurlab.datasets.frame_store import Image, Reader
from deblurlab.datasets.listing import Item, Pair, Reference, Single, Unreferenced
from deblurlab.errors import UserError
from deblurlab.media.images import read_image

Key = tuple[int, int, int]
"""Key of a sample: (epoch, index in the data set, side of the crop in pixels)."""


class PairTransform(Protocol):
    """Random transform of a blurred and a sharp image, a pure function of the images and `key`."""

    def __call__(self, blurred: Image, sharp: Image, *, key: tuple[int, ...]) -> tuple[Image, Image]:
        """Return both images transformed, `(H, W, 3)` uint8.

        Raises:
            ValueError: The images can't be transformed.
        """


class Sample(TypedDict):
    """One sample, or after collation a batch of samples. Images are RGB; they become float on the device."""

    blurred: Tensor
    """`(3, H, W)` uint8."""
    sharp: NotRequired[Tensor]
    """Sharp reference of the blurred image, `(3, H, W)` uint8."""
    extra_references: NotRequired[Tensor]
    """Further sharp references, `(N, 3, H, W)` uint8, if the pair has any."""
    unpaired_sharp: NotRequired[Tensor]
    """Sharp image unrelated to the blurred one, `(3, H', W')` uint8, if there is no reference."""
    pair_blurred: NotRequired[Tensor]
    """Blurred image of a pair that is drawn in addition to the unpaired images."""
    pair_sharp: NotRequired[Tensor]
    """Sharp reference of `pair_blurred`."""
    name: str
    index: int
    """Position in the data set."""


class PairDataset(Dataset[Sample]):
    """Map-style data set of pairs, indexed by a `Key`.

    Args:
        pairs: Items. An `Unreferenced` pair gives `unpaired_sharp` instead of `sharp`, a `Single` neither; both only
            as whole images.
        augmentations: Random transform by crop size; a sample's random state is keyed by (seed, epoch, index).
            Without it, samples are whole images.
        seed: Seed of the augmentation.
        reader: Returns the image of a reference, `ImageSet.read`.

    Raises:
        UserError: On reading: a file can't be used, or the images differ in size or are smaller than the crop.
    """

    def __init__(
        self,
        pairs: Sequence[Item],
        *,
        augmentations: Mapping[int, PairTransform] | None = None,
        seed: int = 0,
        reader: Reader = read_image,
    ) -> None:
        self.pairs = pairs
        self._augmentations = augmentations
        self._seed = seed
        self._read = reader

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: Key) -> Sample:
        epoch, index, size = key
        pair = self.pairs[index]
        if isinstance(pair, (Single, Unreferenced)):
            whole: Sample = {"blurred": self._whole(pair.blurred), "name": pair.name, "index": index}
            if isinstance(pair, Unreferenced):
                whole["unpaired_sharp"] = self._whole(pair.sharp)
            return whole
        blurred, sharp = read_pair(pair, self._read)
        if self._augmentations is not None:
            random_key = (self._seed, epoch, index)
            blurred, sharp = apply_transform(self._augmentations[size], blurred, sharp, pair.blurred, random_key, size)
        sample: Sample = {"blurred": to_tensor(blurred), "sharp": to_tensor(sharp), "name": pair.name, "index": index}
        if pair.extra_references:
            sample["extra_references"] = torch.stack([self._whole(image) for image in pair.extra_references])
        return sample

    def _whole(self, reference: Reference) -> Tensor:
        return to_tensor(read_checked(reference, self._read))


class UnpairedDataset(Dataset[Sample]):
    """Map-style data set of a blurred image and an unrelated sharp one, indexed by a `Key`.

    The key's index is that of an image of the larger set. The image of the smaller set, the pair of `pairs` and all
    augmentations are functions of (seed, epoch, index).

    Args:
        blurred: Blurred images.
        sharp: Sharp images.
        pairs: Pairs of which each sample contains a random one, as `pair_blurred` and `pair_sharp`.
        augmentations: Random transform by crop size.
        seed: Seed of the draws and the augmentation.
        reader: Returns the image of a reference, `ImageSet.read`.
    """

    def __init__(
        self,
        blurred: Sequence[Single],
        sharp: Sequence[Single],
        *,
        pairs: Sequence[Pair] = (),
        augmentations: Mapping[int, PairTransform],
        seed: int,
        reader: Reader,
    ) -> None:
        self._blurred, self._sharp, self._pairs = blurred, sharp, pairs
        self._augmentations, self._seed, self._read = augmentations, seed, reader

    def __len__(self) -> int:
        return max(len(self._blurred), len(self._sharp))

    def __getitem__(self, key: Key) -> Sample:
        epoch, index, size = key
        random = np.random.default_rng((self._seed, epoch, index))
        drawn = int(random.integers(min(len(self._blurred), len(self._sharp))))
        if len(self._blurred) == len(self):
            blurred, sharp = self._blurred[index % len(self)], self._sharp[drawn]
        else:
            blurred, sharp = self._blurred[drawn], self._sharp[index % len(self)]
        transform, images = self._augmentations[size], []
        for position, single in enumerate((blurred, sharp)):
            image = read_checked(single.image, self._read)
            # Degradations apply to the first image of a pair only, so each image is passed as both.
            random_key = (self._seed, epoch, index, 1 + position)
            images.append(to_tensor(apply_transform(transform, image, image, single.image, random_key, size)[position]))
        sample: Sample = {"blurred": images[0], "unpaired_sharp": images[1], "name": blurred.name, "index": index}
        if self._pairs:
            pair = self._pairs[int(random.integers(len(self._pairs)))]
            random_key = (self._seed, epoch, index, 3)
            both = apply_transform(transform, *read_pair(pair, self._read), pair.blurred, random_key, size)
            sample["pair_blurred"], sample["pair_sharp"] = map(to_tensor, both)
        return sample


def read_checked(reference: Reference, read: Reader) -> Image:
    """Return an image, `(H, W, 3)` uint8.

    Raises:
        UserError: The file can't be used, or the data set's reader returned something else.
    """
    image = read(reference)
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(
            f"the reader of the data set returned {_describe(image)} for {reference}: it must return RGB images, "
            f"(H, W, 3) uint8"
        )
    return image


def read_pair(pair: Pair, read: Reader) -> tuple[Image, Image]:
    """Return the blurred and the sharp image of a pair.

    Raises:
        UserError: A file can't be used, or the images differ in size.
    """
    blurred, sharp = read_checked(pair.blurred, read), read_checked(pair.sharp, read)
    if blurred.shape != sharp.shape:
        raise UserError(
            f"{pair.blurred} is {_size(blurred)} and {pair.sharp} {_size(sharp)}: both images of a pair must have the "
            f"same size"
        )
    return blurred, sharp


def apply_transform(
    transform: PairTransform, blurred: Image, sharp: Image, reference: Reference, key: tuple[int, ...], size: int
) -> tuple[Image, Image]:
    """Return two images transformed to crops, `(size, size, 3)` uint8.

    Raises:
        UserError: The transform failed, or returned something else; the message names the image `reference`.
    """
    try:
        images = transform(blurred, sharp, key=key)
        expected = (size, size, 3)
        if not isinstance(images, (tuple, list)) or len(images) != 2:
            raise UserError(f"augment: {_class(transform)} returned {type(images).__name__} instead of two images")
        for image in images:
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != expected:
                raise UserError(
                    f"augment: {_class(transform)} returned {_describe(image)} for {reference}: it must return "
                    f"crops of augment.size={size}, {expected} uint8"
                )
        return images[0], images[1]
    except UserError:
        raise
    except ValueError as error:
        raise UserError(
            f"{reference} ({_size(blurred)}) can't be augmented: {error}. Lower augment.size, or remove such images"
        ) from error


def _describe(image: object) -> str:
    return f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__


def _class(transform: PairTransform) -> str:
    return getattr(transform, "__qualname__", type(transform).__qualname__)


def to_tensor(image: Image) -> Tensor:
    """Convert an image, `(H, W, 3)` uint8, to a tensor, `(3, H, W)` uint8."""
    return torch.from_numpy(image.transpose(2, 0, 1).copy())


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
