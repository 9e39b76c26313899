"""Two sets of images that have nothing to do with one another."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch.utils.data import Dataset

from deblurlab.dataloading.augmentation import Augmentation
from deblurlab.dataloading.sampler import Key
from deblurlab.datasets.base import Pair, Single, Unreferenced, singles
from deblurlab.datasets.frame_store import Reader, open_reader
from deblurlab.datasets.pairs import Source
from deblurlab.datasets.samples import Sample, augmented, read_pair, to_tensor
from deblurlab.datasets.sets import PairSet, Splits, Store, Training, merged
from deblurlab.errors import UserError
from deblurlab.media.images import read_image

Side = str | PairSet
_LOG = logging.getLogger(__name__)


class Unpaired(PairSet):
    """Blurred images and, independent of them, sharp ones.

    Each side is a folder, nested or flat, or another data set, whose blurred or sharp training images it then is. Pairs
    to validate and test on may be named as for `Folders`; without, `val_share` of each folder's images is held out from
    its end, or another set's own validation images are, and they are compared as sets. `pairs` to learn from beside
    them are another data set's, those listed in a text file, or those of a folder's `blurred` and `sharp`.

    Raises:
        UserError: A side is missing or empty, or both are the same images.
    """

    paired: ClassVar[bool] = False

    def __init__(
        self,
        *,
        blurred: Side | None = None,
        sharp: Side | None = None,
        pairs: Side | None = None,
        val_share: float = 0.1,
        val_blurred: str | None = None,
        val_sharp: str | None = None,
        test_blurred: str | None = None,
        test_sharp: str | None = None,
        store: Store = "auto",
    ) -> None:
        super().__init__(root=".", store=store)
        if blurred is None or sharp is None:
            raise UserError("data=unpaired needs data.blurred=<folder> and data.sharp=<folder>")
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share is {val_share}: it is a share between 0 and 1")
        for key, of in {"blurred": blurred, "sharp": sharp, "pairs": pairs}.items():
            if not isinstance(of, (str, PairSet, type(None))):
                raise UserError(f"data.{key}={of} is neither a folder nor a data set")
        self._sides = {"blurred": blurred, "sharp": sharp}
        self._val_share = val_share
        self._beside = _beside(pairs) if isinstance(pairs, str) else pairs
        named = {
            "val": Source.of("val_", val_blurred, val_sharp, None),
            "test": Source.of("test_", test_blurred, test_sharp, None),
        }
        self._pairs = {split: source for split, source in named.items() if source is not None}

    @property
    def has_pairs(self) -> bool:
        return self._beside is not None

    def prepare(self) -> None:
        for one in self._sets():
            one.prepare()
        self.beside()
        blurred, sharp = self.images("blurred"), self.images("sharp")
        if {single.image.resolve() for single in blurred} & {single.image.resolve() for single in sharp}:
            raise UserError("data.blurred and data.sharp have images in common: a network would learn to do nothing")
        for source in self._pairs.values():
            source.pairs()
        for side in self._sides:
            if len(self.images(side)) == 1:
                _LOG.warning("data.%s has a single image to train on: a discriminator soon knows it by heart.", side)

    @property
    def on_disk(self) -> bool:
        return all(one.on_disk for one in self._sets())

    def images(self, side: str) -> list[Single]:
        """What is trained on: the "blurred" or the "sharp" images."""
        return self._split(side)[0]

    def beside(self) -> list[Pair]:
        """Pairs to learn from beside them."""
        if self._beside is None:
            return []
        found = self._beside.train() if isinstance(self._beside, PairSet) else self._beside.pairs()
        if not found:
            raise UserError("data.pairs: that data set has no pairs to train on")
        return found

    def val(self) -> list[Pair]:
        """The pairs that are named, or else a `Unreferenced` for every blurred image that is held out."""
        if "val" in self._pairs:
            return self._named("val")
        blurred, sharp = (self._split(side)[1] for side in self._sides)
        return [
            Unreferenced(single.name, single.image, sharp[i * len(sharp) // len(blurred)].image)
            for i, single in enumerate(blurred)
        ]

    def tests(self) -> dict[str, list[Pair]]:
        return {"test": self._named("test")} if "test" in self._pairs else {}

    def _named(self, split: str) -> list[Pair]:
        return self._pairs[split].pairs() if split in self._pairs else []

    def _split(self, side: str) -> tuple[list[Single], list[Single]]:
        """A side's images: those that are trained on, and those that are validated on if no pairs are named."""
        of = self._sides[side]
        if isinstance(of, PairSet):
            train, val = (
                [Single(pair.name, getattr(pair, side)) for pair in pairs] for pairs in (of.train(), of.val())
            )
            if not train:
                raise UserError(f"data.{side}: that data set has nothing to train on")
            return train, val or train
        found = singles(Path(of))
        if len(found) == 1 or "val" in self._pairs:
            return found, found
        held_out = max(1, round(self._val_share * len(found)))
        return found[:-held_out], found[-held_out:]

    def _sets(self) -> list[PairSet]:
        """The other data sets that it is made of."""
        return [one for one in (*self._sides.values(), self._beside) if isinstance(one, PairSet)]

    def splits(self) -> Splits:
        found: dict[str, list[Pair | Single]] = {}
        for side, of in self._sides.items():
            found[side] = [*self.images(side)] if isinstance(of, PairSet) else [*singles(Path(of))]
        named = {**{split: self._named(split) for split in self._pairs}, "pairs": self.beside()}
        return {**found, **{split: pairs for split, pairs in named.items() if pairs}}

    def readers(self) -> dict[Path, Reader]:
        sets = [one.readers() for one in self._sets()]
        folders = {folder: open_reader(folder) if self.store == "auto" else read_image for folder in self._folders()}
        return {root: reader for one in [folders, *sets] for root, reader in one.items()}

    def stores(self) -> dict[Path, list[Path]]:
        folders = [Path(of) for of in self._sides.values() if not isinstance(of, PairSet)]
        sides = [{folder: [single.image for single in singles(folder)]} for folder in folders]
        named = [
            {source.folder: [path for pair in source.pairs() for path in pair.files]} for source in self._sources()
        ]
        return merged([*(one.stores() for one in self._sets()), *sides, *named])

    def _sources(self) -> list[Source]:
        return [*self._pairs.values(), *([self._beside] if isinstance(self._beside, Source) else [])]

    def _folders(self) -> list[Path]:
        """Those with frame stores of their own."""
        sides = [Path(side) for side in self._sides.values() if not isinstance(side, PairSet)]
        return [*sides, *(source.folder for source in self._sources())]

    def training(self, augmentations: Mapping[int, Augmentation], *, repeat: int, seed: int) -> Training:
        """Each epoch draws every image of the larger side `repeat` times."""
        sides = self.images("blurred"), self.images("sharp")
        dataset = UnpairedDataset(
            *sides, pairs=self.beside(), augmentations=augmentations, seed=seed, reader=self.reader()
        )
        return Training(dataset, [len(dataset) * repeat], [1.0])


def _beside(place: str) -> Source:
    folder = Path(place)
    return Source(None, None, folder) if folder.is_file() else Source(folder / "blurred", folder / "sharp", None)


class UnpairedDataset(Dataset[Sample]):
    """A blurred image and a sharp one that has nothing to do with it, and if there are `pairs` one of them. Asked for
    `(epoch, index, size)`, like `PairDataset`; `index` is that of an image of the larger side; the other image, the
    pair and all augmentations are a function of (seed, epoch, index).
    """

    def __init__(
        self,
        blurred: Sequence[Single],
        sharp: Sequence[Single],
        *,
        pairs: Sequence[Pair] = (),
        augmentations: Mapping[int, Augmentation],
        seed: int,
        reader: Reader,
    ) -> None:
        self._blurred, self._sharp, self._pairs = blurred, sharp, pairs
        self._augmentations, self._seed, self._read = augmentations, seed, reader

    def __len__(self) -> int:
        return max(len(self._blurred), len(self._sharp))

    def __getitem__(self, key: Key) -> Sample:
        epoch, index, size = key
        fewer = min(len(self._blurred), len(self._sharp))
        random = np.random.default_rng((self._seed, epoch, index))
        drawn = int(random.integers(fewer))
        if len(self._blurred) == len(self):
            blurred, sharp = self._blurred[index % len(self)], self._sharp[drawn]
        else:
            blurred, sharp = self._blurred[drawn], self._sharp[index % len(self)]
        images = []
        for side, single in enumerate((blurred, sharp)):
            image = self._read(single.image)
            # Only what is in the blurred image's place is degraded.
            both = augmented(
                self._augmentations[size], image, image, single.image, (self._seed, epoch, index, 1 + side)
            )
            images.append(to_tensor(both[side]))
        sample: Sample = {"blurred": images[0], "unpaired_sharp": images[1], "name": blurred.name, "index": index}
        if self._pairs:
            pair = self._pairs[int(random.integers(len(self._pairs)))]
            both = read_pair(pair, self._read)
            both = augmented(self._augmentations[size], *both, pair.blurred, (self._seed, epoch, index, 3))
            sample["pair_blurred"], sample["pair_sharp"] = map(to_tensor, both)
        return sample
