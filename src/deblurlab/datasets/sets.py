"""What a data set is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from torch.utils.data import Dataset

from deblurlab.dataloading.augmentation import Augmentation
from deblurlab.datasets.base import Pair, Single
from deblurlab.datasets.frame_store import Reader, Readers, open_reader
from deblurlab.datasets.samples import PairDataset, Sample
from deblurlab.errors import UserError
from deblurlab.media.images import read_image

Store = Literal["auto", "off"]
Splits = Mapping[str, Sequence[Pair | Single]]


def _as_it_is(batch: Any) -> Sample:
    return batch


class Training(NamedTuple):
    """What feeds a training."""

    dataset: Dataset[Any]
    """Asked for keys, as `PairDataset` is."""
    sizes: list[int]
    """Of the parts of the data set that follow one another."""
    weights: list[float]
    """By which they are drawn from."""
    finish: Callable[[Any], Sample] = _as_it_is
    """Makes the batch of what the loader collates, on the training's device."""


class PairSet:
    """A data set. `train`, `val` and the test sets are disjoint; `val` serves to choose a checkpoint.

    `root` is the folder that everything lies below, `store` whether its frame store is used: "auto" uses it if it is
    there and whole, "off" reads the image files.
    """

    paired: ClassVar[bool] = True
    """Whether what is trained on are pairs."""
    published: ClassVar[Mapping[str, int]] = {}
    """The number of pairs in each of the set's own splits, "train", "val" and "test", as its makers state it."""

    def __init__(self, *, root: str | Path, store: Store = "auto") -> None:
        if store not in ("auto", "off"):
            raise UserError(f"data.store={store} is unknown: auto or off")
        self.root = Path(root)
        self.store = store

    def prepare(self) -> None:
        """Make or check what must be on disk; called once per machine before anything is read."""

    def train(self) -> list[Pair]:
        return []

    def val(self) -> list[Pair]:
        return []

    def tests(self) -> dict[str, list[Pair]]:
        """Test sets by name; may be empty."""
        return {}

    def parts(self) -> list[tuple[float, list[Pair]]]:
        """What is trained on, in parts with the weights by which they are drawn from."""
        return [(1.0, self.train())]

    def training(self, augmentations: Mapping[int, Augmentation], *, repeat: int, seed: int) -> Training:
        """What is trained on, as samples: each epoch draws every pair `repeat` times."""
        parts = [(weight, pairs * repeat) for weight, pairs in self.parts()]
        pairs = [pair for _, part in parts for pair in part]
        dataset = PairDataset(pairs, augmentations=augmentations, seed=seed, reader=self.reader())
        return Training(dataset, [len(part) for _, part in parts], [weight for weight, _ in parts])

    @property
    def has_pairs(self) -> bool:
        """Whether there are pairs in what is trained on, if only beside other images."""
        return self.paired

    def splits(self) -> Splits:
        """Everything, by the set's own splits: what is counted against `published`."""
        found = {"train": [*self.train(), *self.val()], "test": [p for pairs in self.tests().values() for p in pairs]}
        return {split: pairs for split, pairs in found.items() if pairs}

    @property
    def on_disk(self) -> bool:
        """Whether its images are files."""
        return True

    @property
    def listed(self) -> bool:
        """Whether what is trained on are the pairs of `train`."""
        return self.paired

    def stores(self) -> dict[Path, list[Path]]:
        """The images that belong into the frame store of each folder that has one."""
        files = {path for found in self.splits().values() for item in found for path in item.files}
        return {self.root: sorted(files)}

    def reader(self) -> Reader:
        """What reads its images: frame stores, or the files."""
        readers = self.readers()
        return next(iter(readers.values())) if len(readers) == 1 else Readers(readers)

    def readers(self) -> dict[Path, Reader]:
        """What reads the images below a folder."""
        return {self.root: open_reader(self.root) if self.store == "auto" else read_image}


def merged(stores: Iterable[dict[Path, list[Path]]]) -> dict[Path, list[Path]]:
    """The `stores` of several sets, which may share folders."""
    found: dict[Path, set[Path]] = {}
    for one in stores:
        for root, files in one.items():
            found.setdefault(root, set()).update(files)
    return {root: sorted(files) for root, files in found.items()}
