"""Two sets of images that have nothing to do with one another."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
from torch.utils.data import Dataset

from deblurlab.data.augmentation import Augmentation
from deblurlab.data.dataset import Sample, augmented, to_tensor
from deblurlab.data.folders import Source
from deblurlab.data.frames import Reader, open_reader
from deblurlab.data.images import read_image
from deblurlab.data.pairs import Pair, Single, singles
from deblurlab.data.sampler import Key
from deblurlab.data.sets import PairSet, Splits, Store, Training, merged
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
        for side, of in self._sides.items():
            if not isinstance(of, (str, PairSet)):
                raise UserError(f"data.{side}={of} is neither a folder nor a data set")
        named = {
            "val": Source.of("val_", val_blurred, val_sharp, None),
            "test": Source.of("test_", test_blurred, test_sharp, None),
        }
        self._pairs = {split: source for split, source in named.items() if source is not None}

    def prepare(self) -> None:
        for side in self._sides.values():
            if isinstance(side, PairSet):
                side.prepare()
        blurred, sharp = self.images("blurred"), self.images("sharp")
        if {single.image.resolve() for single in blurred} & {single.image.resolve() for single in sharp}:
            raise UserError("data.blurred and data.sharp have images in common: a network would learn to do nothing")
        for source in self._pairs.values():
            source.pairs()

    @property
    def on_disk(self) -> bool:
        return all(of.on_disk for of in self._sides.values() if isinstance(of, PairSet))

    def images(self, side: str) -> list[Single]:
        """What is trained on: the "blurred" or the "sharp" images."""
        of = self._sides[side]
        if not isinstance(of, PairSet):
            return singles(Path(of))
        found = [Single(pair.name, getattr(pair, side)) for pair in of.train()]
        if not found:
            raise UserError(f"data.{side}: that data set has nothing to train on")
        return found

    def val(self) -> list[Pair]:
        return self._named("val")

    def tests(self) -> dict[str, list[Pair]]:
        return {"test": self._named("test")} if "test" in self._pairs else {}

    def _named(self, split: str) -> list[Pair]:
        return self._pairs[split].pairs() if split in self._pairs else []

    def splits(self) -> Splits:
        sides: dict[str, list[Single]] = {side: self.images(side) for side in self._sides}
        return {**sides, **{split: self._named(split) for split in self._pairs}}

    def readers(self) -> dict[Path, Reader]:
        sets = [side.readers() for side in self._sides.values() if isinstance(side, PairSet)]
        folders = {folder: open_reader(folder) if self.store == "auto" else read_image for folder in self._folders()}
        return {root: reader for one in [folders, *sets] for root, reader in one.items()}

    def stores(self) -> dict[Path, list[Path]]:
        sides = [
            of.stores() if isinstance(of, PairSet) else {Path(of): [single.image for single in self.images(side)]}
            for side, of in self._sides.items()
        ]
        named = [
            {source.folder: [path for pair in source.pairs() for path in pair.files]} for source in self._pairs.values()
        ]
        return merged([*sides, *named])

    def _folders(self) -> list[Path]:
        """Those with frame stores of their own."""
        sides = [Path(side) for side in self._sides.values() if not isinstance(side, PairSet)]
        return [*sides, *(source.folder for source in self._pairs.values())]

    def training(self, augmentations: Mapping[int, Augmentation], *, repeat: int, seed: int) -> Training:
        """Each epoch draws every image of the larger side `repeat` times."""
        sides = self.images("blurred"), self.images("sharp")
        dataset = UnpairedDataset(*sides, augmentations=augmentations, seed=seed, reader=self.reader())
        return Training(dataset, [len(dataset) * repeat], [1.0])


class UnpairedDataset(Dataset[Sample]):
    """A blurred image and a sharp one that has nothing to do with it. Asked for `(epoch, index, size)`, like
    `PairDataset`; `index` is that of an image of the larger side, the other image, and both augmentations, are a
    function of (seed, epoch, index).
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
        fewer = min(len(self._blurred), len(self._sharp))
        drawn = int(np.random.default_rng((self._seed, epoch, index)).integers(fewer))
        if len(self._blurred) == len(self):
            blurred, sharp = self._blurred[index % len(self)], self._sharp[drawn]
        else:
            blurred, sharp = self._blurred[drawn], self._sharp[index % len(self)]
        images = []
        for side, single in enumerate((blurred, sharp)):
            image = self._read(single.image)
            # Only what is in the blurred image's place is degraded.
            both = augmented(self._augmentations[size], image, image, single.image, (self._seed, epoch, index, side))
            images.append(to_tensor(both[side]))
        return cast("Sample", {"blurred": images[0], "sharp": images[1], "name": blurred.name, "index": index})
