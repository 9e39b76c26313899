"""Base classes of data sets."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch.utils.data import Dataset

from deblurlab.datasets.frame_store import Image, Reader, open_reader
from deblurlab.datasets.listing import Item, Part, Reference, Single, Unreferenced, image_file
from deblurlab.datasets.samples import PairDataset, PairTransform, Sample, UnpairedDataset
from deblurlab.errors import UserError
from deblurlab.media.images import read_image

Split = Literal["train", "val", "test"]
Store = Literal["auto", "off"]
"""Whether images are read from the frame store if it is valid ("auto"), or always from their files ("off")."""
Splits = Mapping[str, Sequence[Item]]
"""Items by name of the split."""


def _identity(batch: Any) -> Sample:
    return batch


class TrainingData(NamedTuple):
    """Training samples and how to draw from them."""

    dataset: Dataset[Any]
    """Map-style data set, indexed by a `Key`."""
    sizes: list[int]
    """Number of samples of each part; the parts follow one another in the data set."""
    weights: list[float]
    """Sampling weight of each part."""
    finish_batch: Callable[[Any], Sample] = _identity
    """Converts a collated batch, already on the training device, to a batch of samples."""


class ImageSet(ABC):
    """Data set: what it consists of, and how an image is read.

    A subclass implements `items` and `read`. It is copied to worker processes with `pickle`. The other methods have
    defaults: override `prepare` to check or generate files, `tests` for several or named test sets, and `training` for
    samples that can't be listed.

    Example:
        >>> import numpy as np
        >>> from deblurlab.datasets import Pair
        >>> class Grey(ImageSet):
        ...     "Ten uniform pairs: the levels are the references."
        ...     def items(self, split):
        ...         numbers = {"train": range(8), "val": [8], "test": [9]}[split]
        ...         return [Pair(f"{i}", 20 * i, 20 * i + 1) for i in numbers]
        ...     def read(self, reference):
        ...         return np.full((64, 64, 3), reference, np.uint8)
        >>> {split: len(items) for split, items in Grey().splits().items()}
        {'train': 8, 'val': 1, 'test': 1}
    """

    published: Mapping[str, int] = {}
    """Number of pairs in each official split ("train", "val", "test"), as the data set's authors state it.

    Without "val", the validation pairs are held out of the official training pairs.
    """

    @abstractmethod
    def items(self, split: Split) -> Sequence[Item]:
        """Return the items of a split, in a fixed order; none if the data set has no such split.

        An item is a `Pair`; an `Unreferenced` pair of unrelated images, for training without pairs; or in validation
        and test a `Single`, a blurred image that no sharp one belongs to. Images are given by references, anything
        hashable that `read` understands.
        """

    @abstractmethod
    def read(self, reference: Any) -> Image:
        """Return an image, RGB, `(H, W, 3)` uint8."""

    def prepare(self) -> None:  # noqa: B027 - optional
        """Generate or check the files on disk. Called once per machine before anything is read."""

    def open(self, *, packed: bool = True) -> None:  # noqa: B027 - optional
        """Open what all worker processes share. Called once per process, before workers start.

        Args:
            packed: Whether images may be read from a frame store instead of their files.
        """

    def tests(self) -> dict[str, Sequence[Item]]:
        """Return the test sets by name; there may be none."""
        items = self.items("test")
        return {"test": items} if items else {}

    def parts(self) -> list[tuple[float, Sequence[Item]]]:
        """Return the training items in parts, each with its sampling weight."""
        return [(1.0, self.items("train"))]

    def training(self, augmentations: Mapping[int, PairTransform], *, repeat: int, seed: int) -> TrainingData:
        """Return the training samples.

        Args:
            augmentations: Random transform by crop size.
            repeat: Number of times that an epoch draws each pair, or each image of the larger side without pairs.
            seed: Seed of the augmentation.
        """
        parts = self.parts()
        items = [item for _, part in parts for item in part]
        if not all(item.references for item in items):
            unpaired = _unpaired(items, augmentations=augmentations, seed=seed, reader=self.read)
            return TrainingData(unpaired, [len(unpaired) * repeat], [1.0])
        repeated = [item for _, part in parts for item in [*part] * repeat]
        dataset = PairDataset(repeated, augmentations=augmentations, seed=seed, reader=self.read)
        return TrainingData(dataset, [len(part) * repeat for _, part in parts], [weight for weight, _ in parts])

    def splits(self) -> Splits:
        """Return all items by split."""
        tests = [item for items in self.tests().values() for item in items]
        found = {"train": self.items("train"), "val": self.items("val"), "test": tests}
        return {split: items for split, items in found.items() if items}

    def frame_store_files(self) -> dict[Path, list[Path]]:
        """Return the image files to pack, by the folder that gets a frame store."""
        return {}


class FileSet(ImageSet):
    """Data set of image files below a folder, which may have a frame store.

    Args:
        root: Folder that contains all images.
        store: "auto" reads images from the frame store in `root` if it is valid, "off" from their files.

    Raises:
        UserError: `store` is unknown.
    """

    def __init__(self, *, root: str | Path, store: Store = "auto") -> None:
        if store not in ("auto", "off"):
            raise UserError(f"data.store={store} is unknown: auto or off")
        self.root = Path(root)
        self.store = store
        self._reader: Reader | None = None

    def open(self, *, packed: bool = True) -> None:
        """Open the frame store if there is a valid one."""
        self._reader = open_reader(self.root) if packed and self.store == "auto" else read_image

    def read(self, reference: Path) -> Image:
        """Return an image from the frame store or from its file."""
        if self._reader is None:
            self.open()
            assert self._reader is not None
        return self._reader(reference)

    def frame_store_files(self) -> dict[Path, list[Path]]:
        """Return all image files, for the frame store in `root`."""
        images = (image_file(image) for items in self.splits().values() for item in items for image in item.images)
        return {self.root: sorted({file for file in images if file is not None})}


class CompositeSet(ImageSet):
    """Data set that consists of others. Its references are `Part`s, which name the data set that reads the image.

    Args:
        sources: Data sets by name.
    """

    def __init__(self, sources: Mapping[str, ImageSet]) -> None:
        self._sources = dict(sources)

    def prepare(self) -> None:
        """Prepare each data set."""
        for source in self._sources.values():
            source.prepare()

    def open(self, *, packed: bool = True) -> None:
        """Open each data set."""
        for source in self._sources.values():
            source.open(packed=packed)

    def read(self, reference: Part) -> Image:
        """Return an image of one of the data sets."""
        return self._sources[reference.source].read(reference.image)

    def parts_of(self, source: str, items: Iterable[Item], *, prefix: str = "") -> list[Any]:
        """Return the items of a data set as this one's, with a prefix to their names."""
        return [item.renamed(prefix + item.name, partial(Part, source)) for item in items]

    def frame_store_files(self) -> dict[Path, list[Path]]:
        """Return the image files to pack of all data sets, which may share folders."""
        merged: dict[Path, set[Path]] = {}
        for source in self._sources.values():
            for root, files in source.frame_store_files().items():
                merged.setdefault(root, set()).update(files)
        return {root: sorted(files) for root, files in merged.items()}


def _unpaired(
    items: Iterable[Item], *, augmentations: Mapping[int, PairTransform], seed: int, reader: Reader
) -> UnpairedDataset:
    """Return the samples of two sets of images that don't correspond, and of pairs if there are any.

    Raises:
        UserError: A training image has no sharp image at all.
    """
    blurred: dict[Reference, Single] = {}
    sharp: dict[Reference, Single] = {}
    pairs = []
    for item in items:
        if isinstance(item, Single):
            raise UserError(
                f"the training item {item.name} is a single image: training items must be Pair or Unreferenced"
            )
        if isinstance(item, Unreferenced):
            blurred.setdefault(item.blurred, Single(item.name, item.blurred))
            sharp.setdefault(item.sharp, Single(str(item.sharp), item.sharp))
        else:
            pairs.append(item)
    sides = list(blurred.values()), list(sharp.values())
    return UnpairedDataset(*sides, pairs=pairs, augmentations=augmentations, seed=seed, reader=reader)
