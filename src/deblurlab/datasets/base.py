"""Base class of all data sets."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from torch.utils.data import Dataset

from deblurlab.datasets.frame_store import Reader, ReaderByRoot, open_reader
from deblurlab.datasets.listing import Pair, Single
from deblurlab.datasets.samples import PairDataset, PairTransform, Sample
from deblurlab.errors import UserError
from deblurlab.media.images import read_image

Store = Literal["auto", "off"]
"""Whether images are read from the frame store if it is valid ("auto"), or always from their files ("off")."""
Splits = Mapping[str, Sequence[Pair | Single]]
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


class PairSet:
    """A data set with disjoint splits: `train`, `val` (to choose a checkpoint) and named test sets.

    A new data set is a subclass that overrides `prepare`, `train`, `val` and `tests`, and one YAML file in conf/data.

    Args:
        root: Folder that contains all images.
        store: "auto" reads images from the frame store in `root` if it is valid, "off" from their files.

    Raises:
        UserError: `store` is unknown.
    """

    paired: ClassVar[bool] = True
    """Whether the training samples are pairs."""
    published: ClassVar[Mapping[str, int]] = {}
    """Number of pairs in each official split ("train", "val", "test"), as the data set's authors state it."""

    def __init__(self, *, root: str | Path, store: Store = "auto") -> None:
        if store not in ("auto", "off"):
            raise UserError(f"data.store={store} is unknown: auto or off")
        self.root = Path(root)
        self.store = store

    def prepare(self) -> None:
        """Generate or check the files on disk. Called once per machine before anything is read."""

    def train(self) -> list[Pair]:
        """Return the training pairs."""
        return []

    def val(self) -> list[Pair]:
        """Return the validation pairs."""
        return []

    def tests(self) -> dict[str, list[Pair]]:
        """Return the test sets by name; there may be none."""
        return {}

    def parts(self) -> list[tuple[float, list[Pair]]]:
        """Return the training pairs in parts, each with its sampling weight."""
        return [(1.0, self.train())]

    def training(self, augmentations: Mapping[int, PairTransform], *, repeat: int, seed: int) -> TrainingData:
        """Return the training samples.

        Args:
            augmentations: Random transform by crop size.
            repeat: Number of times that an epoch draws each pair.
            seed: Seed of the augmentation.
        """
        parts = [(weight, pairs * repeat) for weight, pairs in self.parts()]
        pairs = [pair for _, part in parts for pair in part]
        dataset = PairDataset(pairs, augmentations=augmentations, seed=seed, reader=self.reader())
        return TrainingData(dataset, [len(part) for _, part in parts], [weight for weight, _ in parts])

    @property
    def has_pairs(self) -> bool:
        """Whether the training data contain pairs, possibly in addition to unpaired images."""
        return self.paired

    def splits(self) -> Splits:
        """Return all items by official split, as counted in `published`."""
        found = {"train": [*self.train(), *self.val()], "test": [p for pairs in self.tests().values() for p in pairs]}
        return {split: pairs for split, pairs in found.items() if pairs}

    @property
    def on_disk(self) -> bool:
        """Whether the images are files on disk."""
        return True

    @property
    def lists_pairs(self) -> bool:
        """Whether `train` returns all training data."""
        return self.paired

    def frame_store_files(self) -> dict[Path, list[Path]]:
        """Return the image files to pack, by the folder that gets a frame store."""
        files = {path for found in self.splits().values() for item in found for path in item.files}
        return {self.root: sorted(files)}

    def reader(self) -> Reader:
        """Return the function that reads an image of this data set, from a frame store or from its file."""
        readers = self.readers()
        return next(iter(readers.values())) if len(readers) == 1 else ReaderByRoot(readers)

    def readers(self) -> dict[Path, Reader]:
        """Return the readers by the folder whose images they read."""
        return {self.root: open_reader(self.root) if self.store == "auto" else read_image}


def merge_files(file_lists: Iterable[dict[Path, list[Path]]]) -> dict[Path, list[Path]]:
    """Merge the `frame_store_files` of several data sets, which may share folders."""
    merged: dict[Path, set[Path]] = {}
    for files_by_root in file_lists:
        for root, files in files_by_root.items():
            merged.setdefault(root, set()).update(files)
    return {root: sorted(files) for root, files in merged.items()}
