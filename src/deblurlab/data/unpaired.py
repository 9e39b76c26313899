"""Two sets of images that have nothing to do with one another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from torch.utils.data import Dataset

from deblurlab.data.augmentation import Augmentation
from deblurlab.data.dataset import Sample, augmented, to_tensor
from deblurlab.data.folders import Folders
from deblurlab.data.frames import Reader, Readers, open_reader
from deblurlab.data.images import read_image
from deblurlab.data.pairs import Pair, Single, singles
from deblurlab.data.sampler import Key
from deblurlab.data.sets import PairSet, Splits, Store, Training
from deblurlab.errors import UserError

Side = str | PairSet


class Unpaired(PairSet):
    """Blurred images and, independent of them, sharp ones.

    Each side is a folder, nested or flat, or another data set, whose blurred or sharp training images it then is. Pairs
    to validate and test on may be named as for `Folders`.

    Raises:
        UserError: A side is missing or empty, or both are the same images.
    """

    paired: ClassVar[bool] = False

    def __init__(
        self,
        *,
        blurred: Side | None = None,
        sharp: Side | None = None,
        val_blurred: str | None = None,
        val_sharp: str | None = None,
        test_blurred: str | None = None,
        test_sharp: str | None = None,
        store: Store = "auto",
    ) -> None:
        super().__init__(root=".", store=store)
        if blurred is None or sharp is None:
            raise UserError("data=unpaired needs data.blurred=<folder> and data.sharp=<folder>")
        self._sides = {"blurred": blurred, "sharp": sharp}
        named = {"val": (val_blurred, val_sharp), "test": (test_blurred, test_sharp)}
        self._pairs = {
            split: Folders(blurred=folders[0], sharp=folders[1], store=store)
            for split, folders in named.items()
            if folders != (None, None)
        }

    def prepare(self) -> None:
        for side in self._sides.values():
            if isinstance(side, PairSet):
                side.prepare()
        blurred, sharp = self.images("blurred"), self.images("sharp")
        if {single.image.resolve() for single in blurred} & {single.image.resolve() for single in sharp}:
            raise UserError("data.blurred and data.sharp have images in common: a network would learn to do nothing")

    def images(self, side: str) -> list[Single]:
        """What is trained on: the "blurred" or the "sharp" images."""
        of = self._sides[side]
        if not isinstance(of, PairSet):
            return singles(Path(of))
        found = [Single(f"{pair.name}", getattr(pair, side)) for pair in of.train()]
        if not found:
            raise UserError(f"data.{side}: that data set has nothing to train on")
        return found

    def val(self) -> list[Pair]:
        return self._all("val")

    def tests(self) -> dict[str, list[Pair]]:
        return {"test": self._all("test")} if "test" in self._pairs else {}

    def _all(self, split: str) -> list[Pair]:
        return self._pairs[split].splits()["train"] if split in self._pairs else []  # type: ignore[return-value]

    def splits(self) -> Splits:
        pairs = {split: self._all(split) for split in self._pairs}
        return {side: self.images(side) for side in self._sides} | pairs

    def reader(self) -> Reader:
        places: dict[Path, Reader] = {}
        for side in self._sides.values():
            root = side.root if isinstance(side, PairSet) else Path(side)
            places[root] = side.reader() if isinstance(side, PairSet) else self._open(root)
        return Readers(places | {data.root: data.reader() for data in self._pairs.values()})

    def stores(self) -> dict[Path, list[Path]]:
        found: dict[Path, list[Path]] = {}
        for name, side in self._sides.items():
            root = side.root if isinstance(side, PairSet) else Path(side)
            found.setdefault(root, []).extend(single.image for single in self.images(name))
        for data in self._pairs.values():
            found |= data.stores()
        return found

    def _open(self, root: Path) -> Reader:
        return open_reader(root) if self.store == "auto" else read_image

    def training(self, augmentations: Mapping[int, Augmentation], *, repeat: int, seed: int) -> Training:
        """Each epoch draws every image of the larger side `repeat` times."""
        sides = self.images("blurred"), self.images("sharp")
        dataset = UnpairedDataset(*sides, augmentations=augmentations, seed=seed, reader=self.reader())
        return Training(dataset, [len(dataset) * repeat], [1.0])


class UnpairedDataset(Dataset[Sample]):
    """A blurred image and a random sharp one. Asked for `(epoch, index, size)`, like `PairDataset`; each image is
    augmented by itself, which sharp one it is and both augmentations are a function of (seed, epoch, index).
    """

    def __init__(
        self,
        blurred: Sequence[Single],
        sharp: Sequence[Single],
        *,
        augmentations: Mapping[int, Augmentation],
        seed: int,
        reader: Reader,
    ) -> None:
        self._blurred, self._sharp = blurred, sharp
        self._augmentations, self._seed, self._read = augmentations, seed, reader

    def __len__(self) -> int:
        return max(len(self._blurred), len(self._sharp))

    def __getitem__(self, key: Key) -> Sample:
        epoch, index, size = key
        chosen = int(np.random.default_rng((self._seed, epoch, index)).integers(len(self._sharp)))
        blurred, sharp = self._blurred[index % len(self._blurred)], self._sharp[chosen]
        images = []
        for side, single in enumerate((blurred, sharp)):
            image = self._read(single.image)
            # Only what is in the blurred image's place is degraded.
            both = augmented(self._augmentations[size], image, image, single.image, (self._seed, epoch, index, side))
            images.append(to_tensor(both[side]))
        return cast("Sample", {"blurred": images[0], "sharp": images[1], "name": blurred.name, "index": index})
