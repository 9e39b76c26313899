"""Where pairs lie on disk."""

import os
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from deblurlab.data.frames import Reader, open_reader
from deblurlab.data.images import find_images, read_image
from deblurlab.errors import UserError, some


class Pair(NamedTuple):
    """A blurred image and its sharp twin."""

    name: str
    """Unique in its set: the path without suffix, relative to the set."""
    blurred: Path
    sharp: Path
    others: tuple[Path, ...] = ()
    """Further sharp images that the restored one may be like as well; the best score counts."""

    @property
    def group(self) -> str:
        """What the pair was cut from: its sequence, photograph or folder. Pairs of one group aren't independent."""
        return self.name.rpartition("/")[0]


Pairs = list[Pair]
Store = Literal["auto", "off"]


def missing(name: str, place: Path, what: str, paper: str) -> UserError:
    """The error for a data set that isn't there; nothing is downloaded."""
    return UserError(
        f"there is no {name} data set at {place}: get {what} from the project page of {paper}, and unpack it so that "
        f"{place} exists, or say where it is: data.root=<folder>"
    )


class PairSet:
    """A data set. `train`, `val` and the test sets are disjoint; `val` serves to choose a checkpoint.

    `root` is the folder that everything lies below, `store` whether its frame store is used: "auto" uses it if it is
    there and whole, "off" reads the image files.
    """

    published: ClassVar[Mapping[str, int]] = {}
    """The number of pairs in each of the set's own splits, "train", "val" and "test", as its makers state it."""

    def __init__(self, *, root: str | Path, store: Store = "auto") -> None:
        if store not in ("auto", "off"):
            raise UserError(f"data.store={store} is unknown: auto or off")
        self.root = Path(root)
        self._store = store

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

    def splits(self) -> dict[str, list[Pair]]:
        """Everything, by the set's own splits: what is counted against `published`."""
        found = {"train": [*self.train(), *self.val()], "test": [p for pairs in self.tests().values() for p in pairs]}
        return {split: pairs for split, pairs in found.items() if pairs}

    def reader(self) -> Reader:
        """What reads its images: the frame store, or the files."""
        return open_reader(self.root) if self._store == "auto" else read_image


def match(blurred: Path, sharp: Path) -> list[Pair]:
    """The pairs of two folders, nested or flat: files whose relative paths agree up to the suffix, sorted.

    Raises:
        UserError: A folder is missing or empty, or some file has no twin.
    """
    left, right = _by_name(blurred), _by_name(sharp)
    for here, there, lone in (
        (blurred, sharp, left.keys() - right.keys()),
        (sharp, blurred, right.keys() - left.keys()),
    ):
        if lone:
            raise UserError(
                f"{len(left)} images in {blurred}, {len(right)} in {sharp}: "
                f"{some(sorted(lone))} of {here} without a twin of that name in {there}"
            )
    return [Pair(name, left[name], right[name]) for name in sorted(left)]


def listed(file: Path, root: Path, *, sharp_first: bool = False) -> list[Pair]:
    """The pairs in a text file: two paths a line, relative to `root`, the blurred image first unless `sharp_first`.
    Empty lines and lines that begin with # are passed over.

    Raises:
        UserError: The file is missing, a line doesn't hold two paths, or an image isn't there.
    """
    if not file.is_file():
        raise UserError(f"there is no list of pairs {file}")
    pairs = []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        words = shlex.split(line)
        if len(words) != 2:
            raise UserError(f"line {number} of {file} holds {len(words)} paths instead of two: {line.strip()}")
        for word in words:
            if not (root / word).is_file():
                raise UserError(f"line {number} of {file}: there is no image {root / word}")
        blurred, sharp = reversed(words) if sharp_first else words
        pairs.append(Pair(Path(blurred).with_suffix("").as_posix(), root / blurred, root / sharp))
    if not pairs:
        raise UserError(f"{file} lists no pairs")
    return pairs


class Folders(PairSet):
    """Any pairs: two folders, nested or flat, or a text file that lists them (`list`, see `listed`; paths are
    relative to the file). Without pairs of their own for validation, the last `val_share` of the pairs in the order
    of their names is held out: neighbours are often frames of one video, and the tail of a list leaks less than a
    random draw.

    Raises:
        UserError: As `match` and `listed`; or only one folder of two is given; or nothing is left to train or
        validate on.
    """

    def __init__(
        self,
        *,
        blurred: str | None = None,
        sharp: str | None = None,
        list: str | None = None,
        val_blurred: str | None = None,
        val_sharp: str | None = None,
        val_list: str | None = None,
        val_share: float = 0.1,
        test_blurred: str | None = None,
        test_sharp: str | None = None,
        test_list: str | None = None,
        store: Store = "auto",
    ) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share is {val_share}: it is a share between 0 and 1")
        self._train = _Source.of("", blurred, sharp, list)
        self._val = _Source.of("val_", val_blurred, val_sharp, val_list)
        self._test = _Source.of("test_", test_blurred, test_sharp, test_list)
        self._val_share = val_share
        if self._train is None:
            raise UserError("data=pairs needs data.blurred=<folder> and data.sharp=<folder>, or data.list=<file>")
        super().__init__(root=self._train.folder, store=store)

    def prepare(self) -> None:
        self.train(), self.val(), self.tests()

    def train(self) -> Pairs:
        pairs = self._all()
        return pairs if self._val else pairs[: -self._held_out(pairs)]

    def val(self) -> Pairs:
        if self._val:
            return self._val.pairs()
        pairs = self._all()
        return pairs[-self._held_out(pairs) :]

    def tests(self) -> dict[str, Pairs]:
        return {"pairs": self._test.pairs()} if self._test else {}

    def _all(self) -> Pairs:
        assert self._train is not None
        return self._train.pairs()

    def _held_out(self, pairs: Pairs) -> int:
        if len(pairs) < 2:
            raise UserError(f"{self.root} holds a single pair: there is nothing to validate on")
        return min(len(pairs) - 1, max(1, round(self._val_share * len(pairs))))


class _Source(NamedTuple):
    """Two folders, or a list."""

    blurred: Path | None
    sharp: Path | None
    file: Path | None

    @classmethod
    def of(cls, prefix: str, blurred: str | None, sharp: str | None, file: str | None) -> "_Source | None":
        """What the settings of this prefix say; None if they say nothing."""
        if (blurred is None) != (sharp is None):
            raise UserError(f"data.{prefix}blurred and data.{prefix}sharp go together: give both or none")
        if blurred is not None and file is not None:
            raise UserError(f"data.{prefix}list and data.{prefix}blurred are two ways to say the same: give one")
        if blurred is None and file is None:
            return None
        return cls(*(None if name is None else Path(name) for name in (blurred, sharp, file)))

    @property
    def folder(self) -> Path:
        """What all images lie below."""
        if self.file is not None:
            return self.file.parent
        assert self.blurred is not None
        assert self.sharp is not None
        return Path(os.path.commonpath([self.blurred.absolute(), self.sharp.absolute()]))

    def pairs(self) -> Pairs:
        if self.file is not None:
            return listed(self.file, self.file.parent)
        assert self.blurred is not None
        assert self.sharp is not None
        return match(self.blurred, self.sharp)


def _by_name(folder: Path) -> dict[str, Path]:
    files = find_images(folder)
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UserError(f"{folder} has several files called {some(twice)}, which differ only in their suffix")
    return dict(zip(names, files, strict=True))
