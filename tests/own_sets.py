"""Data sets of the tests, as a user would write them outside of deblurlab."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from deblurlab.datasets import ImageSet, Item, Pair, Single, Split, Unreferenced

SIDE = 48
COUNTS = {"train": 8, "val": 2, "test": 2}


def image(number: int, side: str) -> np.ndarray:
    """Return a random sharp image, or the same one darker by 10 levels as the blurred one; no level is below 10."""
    sharp = np.random.default_rng(number).integers(20, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return sharp if side == "sharp" else sharp - 10


class Darker(ImageSet):
    """Pairs without files: references are numbers and sides."""

    def items(self, split: Split) -> list[Pair]:
        first = {"train": 0, "val": 100, "test": 200}[split]
        return [Pair(f"{split}/{i}", (i, "blurred"), (i, "sharp")) for i in range(first, first + COUNTS[split])]

    def read(self, reference: tuple[int, str]) -> np.ndarray:
        return image(*reference)


class Independent(Darker):
    """Blurred images without references: unrelated sharp ones in training, none in tests."""

    def items(self, split: Split) -> Sequence[Item]:
        pairs = super().items(split)
        if split == "test":
            return [Single(pair.name, pair.blurred) for pair in pairs]
        return [Unreferenced(pair.name, pair.blurred, (pair.sharp[0] + 1000, "sharp")) for pair in pairs]


class Repeated(Darker):
    """The test pairs are training pairs."""

    def items(self, split: Split) -> list[Pair]:
        return super().items("train")[:2] if split == "test" else super().items(split)


class Wrong(Darker):
    """Its reader breaks the contract."""

    def __init__(self, *, kind: str) -> None:
        self.kind = kind

    def read(self, reference: tuple[int, str]) -> np.ndarray:
        found = image(*reference)
        return {
            "floats": (found / 255).astype(np.float32),
            "grey": found[..., 0],
            "channels first": found.transpose(2, 0, 1),
            "16 bits": found.astype(np.uint16),
            "with alpha": np.dstack([found, found[..., :1]]),
            "list": found.tolist(),
        }[self.kind]


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Torch data set of float tensors."""

    def __init__(self, *, count: int = 8, first: int = 0) -> None:
        self.count, self.first = count, first

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        blurred, sharp = (torch.tensor(image(self.first + index, side)) for side in ("blurred", "sharp"))
        return blurred.permute(2, 0, 1) / 255, sharp.permute(2, 0, 1) / 255


class RandomCrops(Samples):
    """Torch data set whose samples are crops at a new random place in each call."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        blurred, sharp = super().__getitem__(index)
        top, left = torch.randint(SIDE - 16, (2,)).tolist()
        return blurred[:, top : top + 16, left : left + 16], sharp[:, top : top + 16, left : left + 16]


class Stream(IterableDataset[Tensor]):
    """A data set that isn't map-style."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(())
