"""Pairs as tensors."""

from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deblurlab.dataloading.augmentation import Augmentation, Image
from deblurlab.dataloading.sampler import Key
from deblurlab.datasets.base import Pair, Unreferenced
from deblurlab.datasets.frame_store import Reader
from deblurlab.errors import UserError
from deblurlab.media.images import read_image


class Sample(TypedDict):
    """One pair, or after collation a batch of them."""

    blurred: Tensor
    """`(3, H, W)` uint8: images travel as bytes and become floats on the device."""
    sharp: NotRequired[Tensor]
    """Its twin."""
    extra_references: NotRequired[Tensor]
    """`(N, 3, H, W)` uint8: further sharp images that the restored one may be like as well, if the pair has any."""
    unpaired_sharp: NotRequired[Tensor]
    """In place of a twin: a sharp image that has nothing to do with the blurred one, of any size."""
    pair_blurred: NotRequired[Tensor]
    """With `pair_sharp` a pair to learn from, beside images without twins."""
    pair_sharp: NotRequired[Tensor]
    name: str
    index: int
    """Position in the data set."""


class PairDataset(Dataset[Sample]):
    """Reads pairs. Asked for `(epoch, index, size)`; the augmentation of a sample is the one that makes crops of that
    size, keyed by (seed, epoch, index). Without augmentations the whole images come.

    `reader` reads an image: from its file, or from a frame store.

    Raises:
        UserError: On reading: a file can't be used, the two differ in size, or are too small for the crop.
    """

    def __init__(
        self,
        pairs: list[Pair],
        *,
        augmentations: Mapping[int, Augmentation] | None = None,
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
        if isinstance(pair, Unreferenced):
            both = [to_tensor(self._read(path)) for path in pair.files]
            return {"blurred": both[0], "unpaired_sharp": both[1], "name": pair.name, "index": index}
        blurred, sharp = read_pair(pair, self._read)
        if self._augmentations is not None:
            key = (self._seed, epoch, index)
            blurred, sharp = augmented(self._augmentations[size], blurred, sharp, pair.blurred, key)
        sample: Sample = {"blurred": to_tensor(blurred), "sharp": to_tensor(sharp), "name": pair.name, "index": index}
        if pair.extra_references:
            sample["extra_references"] = torch.stack([to_tensor(self._read(path)) for path in pair.extra_references])
        return sample


def read_pair(pair: Pair, read: Reader) -> tuple[Image, Image]:
    """Both images of a pair.

    Raises:
        UserError: A file can't be used, or they differ in size.
    """
    blurred, sharp = read(pair.blurred), read(pair.sharp)
    if blurred.shape != sharp.shape:
        raise UserError(f"{pair.blurred} is {_size(blurred)} and {pair.sharp} {_size(sharp)}: a pair has one size")
    return blurred, sharp


def augmented(
    augmentation: Augmentation, blurred: Image, sharp: Image, path: Path, key: tuple[int, ...]
) -> tuple[Image, Image]:
    """What an augmentation makes of two images.

    Raises:
        UserError: It can't; the file is named.
    """
    try:
        return augmentation(blurred, sharp, key=key)
    except ValueError as error:
        raise UserError(
            f"{path} ({_size(blurred)}) can't be augmented: {error}. A smaller augment.size may help, or leaving such "
            f"images out"
        ) from error


def to_tensor(image: Image) -> Tensor:
    """`(H, W, 3)` -> `(3, H, W)`, uint8."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
