"""Unpaired data sets: independent sets of blurred and of sharp images."""

import logging
from collections.abc import Mapping
from itertools import accumulate, groupby
from pathlib import Path
from typing import ClassVar

from deblurlab.datasets.base import PairSet, Splits, Store, TrainingData, merge_files
from deblurlab.datasets.frame_store import Reader, open_reader
from deblurlab.datasets.listing import Pair, Single, Unreferenced, list_singles
from deblurlab.datasets.pairs import PairSource
from deblurlab.datasets.samples import PairTransform, UnpairedDataset
from deblurlab.errors import UserError
from deblurlab.media.images import read_image

Source = str | PairSet
"""Source of images: a folder, or another data set."""
_LOG = logging.getLogger(__name__)


class Unpaired(PairSet):
    """Two independent sets of images, blurred and sharp.

    Without validation pairs, images are held out on both sides and compared as sets (KID).

    Args:
        blurred: Blurred images: a folder, nested or flat, or a data set whose blurred training images are used.
        sharp: Sharp images: a folder, or a data set whose sharp training images are used.
        pairs: Training pairs in addition to the unpaired images: a folder with `blurred` and `sharp`, a text file that
            lists pairs, or a data set.
        val_share: Share of each folder that is held out, from its end. A data set's own validation split is used.
        val_blurred: Folder of the validation pairs' blurred images, likewise `val_sharp`.
        val_sharp: See `val_blurred`.
        test_blurred: Folder of the test pairs' blurred images, likewise `test_sharp`.
        test_sharp: See `test_blurred`.
        store: As for `PairSet`, for the folders.

    Raises:
        UserError: A side is missing or empty, or an image is on both sides.
    """

    paired: ClassVar[bool] = False

    def __init__(
        self,
        *,
        blurred: Source | None = None,
        sharp: Source | None = None,
        pairs: Source | None = None,
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
            raise UserError(f"data.val_share is {val_share}: it must be between 0 and 1")
        for key, source in {"blurred": blurred, "sharp": sharp, "pairs": pairs}.items():
            if not isinstance(source, (str, PairSet, type(None))):
                raise UserError(f"data.{key}={source} is neither a folder nor a data set")
        self._sides = {"blurred": blurred, "sharp": sharp}
        self._val_share = val_share
        self._extra = _pair_source(pairs) if isinstance(pairs, str) else pairs
        named = {
            "val": PairSource.from_config("val_", val_blurred, val_sharp, None),
            "test": PairSource.from_config("test_", test_blurred, test_sharp, None),
        }
        self._named = {split: source for split, source in named.items() if source is not None}

    @property
    def has_pairs(self) -> bool:
        """Whether there are training pairs in addition to the unpaired images."""
        return self._extra is not None

    def prepare(self) -> None:
        """Prepare the data sets it consists of, and check that no image is on both sides."""
        for data in self._data_sets():
            data.prepare()
        self.extra_pairs()
        blurred, sharp = self.images("blurred"), self.images("sharp")
        if {single.image.resolve() for single in blurred} & {single.image.resolve() for single in sharp}:
            raise UserError(
                "data.blurred and data.sharp have images in common, so the network would learn the identity: choose "
                "folders without common images"
            )
        for source in self._named.values():
            source.pairs()
        for side in self._sides:
            if len(self.images(side)) == 1:
                _LOG.warning("data.%s has a single image to train on: its discriminator will overfit.", side)

    @property
    def on_disk(self) -> bool:
        """Whether all images are files on disk."""
        return all(data.on_disk for data in self._data_sets())

    def images(self, side: str) -> list[Single]:
        """Return the training images of a side, "blurred" or "sharp"."""
        return self._split(side)[0]

    def extra_pairs(self) -> list[Pair]:
        """Return the training pairs in addition to the unpaired images.

        Raises:
            UserError: `data.pairs` is set but has no pairs.
        """
        if self._extra is None:
            return []
        found = self._extra.train() if isinstance(self._extra, PairSet) else self._extra.pairs()
        if not found:
            raise UserError("data.pairs: that data set has no training pairs, choose another one")
        return found

    def val(self) -> list[Pair]:
        """Return the given validation pairs, or an `Unreferenced` for every held-out blurred image."""
        if "val" in self._named:
            return self._named["val"].pairs()
        blurred, sharp = (self._split(side)[1] for side in self._sides)
        return [
            Unreferenced(single.name, single.image, sharp[i * len(sharp) // len(blurred)].image)
            for i, single in enumerate(blurred)
        ]

    def tests(self) -> dict[str, list[Pair]]:
        """Return the given test pairs as "test"."""
        return {"test": self._named["test"].pairs()} if "test" in self._named else {}

    def _split(self, side: str) -> tuple[list[Single], list[Single]]:
        """Return the training images of a side, and its validation images if there are no validation pairs."""
        source = self._sides[side]
        if isinstance(source, PairSet):
            splits = source.train(), source.val()
            train, val = ([Single(pair.name, getattr(pair, side)) for pair in pairs] for pairs in splits)
            if not train:
                raise UserError(f"data.{side}: that data set has no training images, choose another one")
            return train, val or train
        found = list_singles(Path(source))
        if len(found) == 1 or "val" in self._named:
            return found, found
        held_out = max(1, round(self._val_share * len(found)))
        return found[:-held_out], found[-held_out:]

    def splits(self) -> Splits:
        """Return all images by side, and the pairs by split."""
        found: dict[str, list[Pair | Single]] = {}
        for side, source in self._sides.items():
            found[side] = [*self.images(side)] if isinstance(source, PairSet) else [*list_singles(Path(source))]
        pairs = {**{split: source.pairs() for split, source in self._named.items()}, "pairs": self.extra_pairs()}
        return {**found, **{split: listed for split, listed in pairs.items() if listed}}

    def readers(self) -> dict[Path, Reader]:
        """Return the readers of the folders and of the data sets it consists of."""
        folders = [*self._image_folders(), *(source.folder for source in self._pair_sources())]
        readers = {folder: open_reader(folder) if self.store == "auto" else read_image for folder in folders}
        for data in self._data_sets():
            readers |= data.readers()
        return readers

    def frame_store_files(self) -> dict[Path, list[Path]]:
        """Return the image files to pack of the folders and of the data sets it consists of."""
        sides = [{folder: [single.image for single in list_singles(folder)]} for folder in self._image_folders()]
        pairs = [
            {source.folder: [path for pair in source.pairs() for path in pair.files]} for source in self._pair_sources()
        ]
        return merge_files([*(data.frame_store_files() for data in self._data_sets()), *sides, *pairs])

    def training(self, augmentations: Mapping[int, PairTransform], *, repeat: int, seed: int) -> TrainingData:
        """Return the training samples. An epoch draws every image of the larger side `repeat` times."""
        dataset = UnpairedDataset(
            self.images("blurred"),
            self.images("sharp"),
            pairs=self.extra_pairs(),
            augmentations=augmentations,
            seed=seed,
            reader=self.reader(),
        )
        return TrainingData(dataset, [len(dataset) * repeat], [1.0])

    def _data_sets(self) -> list[PairSet]:
        return [source for source in (*self._sides.values(), self._extra) if isinstance(source, PairSet)]

    def _pair_sources(self) -> list[PairSource]:
        return [*self._named.values(), *([self._extra] if isinstance(self._extra, PairSource) else [])]

    def _image_folders(self) -> list[Path]:
        return [Path(source) for source in self._sides.values() if not isinstance(source, PairSet)]


class Disjoint(Unpaired):
    """Unpaired images from a paired data set: blurred images of one half of its scenes, sharp images of the other half.

    Whole groups (sequences, clips) go to one side if there are several, otherwise the pairs are halved in order. The
    pairs of the data set's validation and test splits measure the result of training without pairs.

    Args:
        of: The paired data set.
        pairs: As for `Unpaired`.

    Raises:
        UserError: The data set doesn't list its pairs, or has fewer than two training pairs.
    """

    def __init__(self, *, of: PairSet, pairs: Source | None = None) -> None:
        if not of.lists_pairs:
            raise UserError("data.of must list its pairs, which endless and unpaired sets don't: choose another set")
        super().__init__(blurred=of, sharp=of, pairs=pairs)
        self._of = of

    def images(self, side: str) -> list[Single]:
        """Return the images of one half of the scenes."""
        first, second = self._halves()
        return [Single(pair.name, getattr(pair, side)) for pair in (first if side == "blurred" else second)]

    def val(self) -> list[Pair]:
        """Return the validation pairs of the paired data set."""
        return self._of.val()

    def tests(self) -> dict[str, list[Pair]]:
        """Return the test sets of the paired data set."""
        return self._of.tests()

    def splits(self) -> Splits:
        """Return the images by side, and the pairs by split."""
        tests = {f"test/{name}": pairs for name, pairs in self.tests().items()}
        return {**super().splits(), "val": self.val(), **tests}

    def _halves(self) -> tuple[list[Pair], list[Pair]]:
        pairs = self._of.train()
        if len(pairs) < 2:
            raise UserError(f"data.of has {len(pairs)} training pairs, but each side needs at least one: add pairs")
        ends = list(accumulate(len(list(group)) for _, group in groupby(pairs, lambda pair: pair.group)))
        middle = min(ends[:-1], key=lambda end: abs(2 * end - len(pairs))) if len(ends) > 1 else len(pairs) // 2
        return pairs[:middle], pairs[middle:]


def _pair_source(place: str) -> PairSource:
    path = Path(place)
    return PairSource(None, None, path) if path.is_file() else PairSource(path / "blurred", path / "sharp", None)
