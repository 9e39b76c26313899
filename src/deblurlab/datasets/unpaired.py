"""Unpaired data sets: independent sets of blurred and of sharp images."""

import logging
from collections.abc import Sequence
from itertools import accumulate, groupby
from pathlib import Path

from deblurlab.datasets.base import CompositeSet, FileSet, ImageSet, Split, Splits, Store
from deblurlab.datasets.listing import Item, Pair, Single, Unreferenced, image_file, list_singles
from deblurlab.datasets.pairs import PairSource
from deblurlab.errors import UserError

Source = str | ImageSet
"""Source of images: a folder, or another data set."""
_SIDES = ("blurred", "sharp")
_LOG = logging.getLogger(__name__)


class Unpaired(CompositeSet):
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
        store: As for `FileSet`, for the folders.

    Raises:
        UserError: A side is missing or empty, or an image is on both sides.
    """

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
        if blurred is None or sharp is None:
            raise UserError("data=unpaired needs data.blurred=<folder> and data.sharp=<folder>")
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share is {val_share}: it must be between 0 and 1")
        for key, source in {"blurred": blurred, "sharp": sharp, "pairs": pairs}.items():
            if not isinstance(source, (str, ImageSet, type(None))):
                raise UserError(f"data.{key}={source} is neither a folder nor a data set")
        sides = dict(zip(_SIDES, (blurred, sharp), strict=True))
        sources = {side: _Folder(root=s, store=store) if isinstance(s, str) else s for side, s in sides.items()}
        if pairs is not None:
            sources["pairs"] = _Listed(_pair_source(pairs), store=store) if isinstance(pairs, str) else pairs
        for split, folders in {"val": (val_blurred, val_sharp), "test": (test_blurred, test_sharp)}.items():
            if (named := PairSource.from_config(f"{split}_", *folders, None)) is not None:
                sources[split] = _Listed(named, store=store)
        super().__init__(sources)
        self._val_share = val_share

    def prepare(self) -> None:
        """Prepare the data sets it consists of, and check that no image is on both sides."""
        super().prepare()
        found = {side: self.images(side) for side in _SIDES}
        files = [{f.resolve() for single in s if (f := image_file(single.image))} for s in found.values()]
        if files[0] & files[1]:
            raise UserError(
                "data.blurred and data.sharp have images in common, so the network would learn the identity: choose "
                "folders without common images"
            )
        for side, singles in found.items():
            if len(singles) == 1:
                _LOG.warning("data.%s has a single image to train on: its discriminator will overfit.", side)

    def images(self, side: str) -> list[Single]:
        """Return the training images of a side, "blurred" or "sharp"."""
        return self._split(side)[0]

    def items(self, split: Split) -> list[Item]:
        """Return the items of a split.

        Training items are `Unreferenced`, as many as the larger side has images, and the additional pairs. Validation
        items are the given pairs, or an `Unreferenced` for every held-out blurred image.

        Raises:
            UserError: `data.pairs` is set but has no pairs.
        """
        if split == "train":
            blurred, sharp = (self.images(side) for side in _SIDES)
            count = max(len(blurred), len(sharp))
            sides = [(blurred[i % len(blurred)], sharp[i % len(sharp)]) for i in range(count)]
            return [*(Unreferenced(b.name, b.image, s.image) for b, s in sides), *self._extra_pairs()]
        if split in self._sources:
            return self.parts_of(split, self._sources[split].items("train"))
        if split == "test":
            return []
        blurred, sharp = (self._split(side)[1] for side in _SIDES)
        return [
            Unreferenced(single.name, single.image, sharp[i * len(sharp) // len(blurred)].image)
            for i, single in enumerate(blurred)
        ]

    def splits(self) -> Splits:
        """Return all images by side, and the pairs by split."""
        found: dict[str, Sequence[Item]] = {}
        for side in _SIDES:
            folder = self._sources[side]
            all_of_folder = isinstance(folder, _Folder)
            found[side] = self.parts_of(side, folder.items("train")) if all_of_folder else self.images(side)
        named: list[Split] = ["val", "test"]
        pairs = {split: self.items(split) for split in named if split in self._sources}
        pairs |= {"pairs": self._extra_pairs()}  # type: ignore[dict-item]
        return {**found, **{split: listed for split, listed in pairs.items() if listed}}

    def _extra_pairs(self) -> list[Pair]:
        if "pairs" not in self._sources:
            return []
        found = [item for item in self._sources["pairs"].items("train") if item.references]
        if not found:
            raise UserError("data.pairs: that data set has no training pairs, choose another one")
        return self.parts_of("pairs", found)

    def _split(self, side: str) -> tuple[list[Single], list[Single]]:
        """Return the training images of a side, and its validation images if there are no validation pairs."""
        source = self._sources[side]
        if isinstance(source, _Folder):
            found = self.parts_of(side, source.items("train"))
            if len(found) == 1 or "val" in self._sources:
                return found, found
            held_out = max(1, round(self._val_share * len(found)))
            return found[:-held_out], found[-held_out:]
        train, val = (_side(source.items(split), side) for split in ("train", "val"))
        if not train:
            raise UserError(f"data.{side}: that data set has no training images, choose another one")
        return self.parts_of(side, train), self.parts_of(side, val or train)


class Disjoint(Unpaired):
    """Unpaired images from a paired data set: blurred images of one half of its scenes, sharp images of the other half.

    Whole groups (sequences, clips) go to one side if there are several, otherwise the pairs are halved in order. The
    pairs of the data set's validation and test splits measure the result of training without pairs.

    Args:
        of: The paired data set.
        pairs: As for `Unpaired`.

    Raises:
        UserError: On use: the data set lists fewer than two training pairs.
    """

    def __init__(self, *, of: ImageSet, pairs: Source | None = None) -> None:
        super().__init__(blurred=of, sharp=of, pairs=pairs)
        self._of = of

    def images(self, side: str) -> list[Single]:
        """Return the images of one half of the scenes."""
        first, second = self._halves()
        return self.parts_of(side, _side(first if side == "blurred" else second, side))

    def items(self, split: Split) -> list[Item]:
        """Return the unpaired training images, or the pairs of another split of the paired data set."""
        return super().items(split) if split == "train" else self.parts_of("sharp", self._of.items(split))

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test sets of the paired data set."""
        return {name: self.parts_of("sharp", items) for name, items in self._of.tests().items()}

    def splits(self) -> Splits:
        """Return the images by side, and the pairs by split."""
        tests = {f"test/{name}": items for name, items in self.tests().items()}
        return {**super().splits(), "val": self.items("val"), **tests}

    def _halves(self) -> tuple[list[Item], list[Item]]:
        pairs = [item for item in self._of.items("train") if item.references]
        if len(pairs) < 2:
            raise UserError(
                f"data.of lists {len(pairs)} training pairs, but each side needs at least one: add pairs, or choose "
                f"another set than an endless or unpaired one"
            )
        ends = list(accumulate(len(list(group)) for _, group in groupby(pairs, lambda pair: pair.group)))
        middle = min(ends[:-1], key=lambda end: abs(2 * end - len(pairs))) if len(ends) > 1 else len(pairs) // 2
        return pairs[:middle], pairs[middle:]


class _Folder(FileSet):
    """Single images of a folder, as training items."""

    def items(self, split: Split) -> list[Single]:
        return list_singles(self.root) if split == "train" else []


class _Listed(FileSet):
    """Pairs of two folders or a list, as training items."""

    def __init__(self, source: PairSource, *, store: Store) -> None:
        super().__init__(root=source.folder, store=store)
        self._source = source

    def items(self, split: Split) -> list[Pair]:
        return self._source.pairs() if split == "train" else []


def _side(items: Sequence[Item], side: str) -> list[Single]:
    """Return the images of one side of pairs."""
    return [Single(item.name, getattr(item, side)) for item in items if isinstance(item, Pair)]


def _pair_source(place: str) -> PairSource:
    path = Path(place)
    return PairSource(None, None, path) if path.is_file() else PairSource(path / "blurred", path / "sharp", None)
