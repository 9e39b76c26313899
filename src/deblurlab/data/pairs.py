"""Where pairs lie on disk."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from deblurlab.data.images import find_images
from deblurlab.errors import UserError


class Pair(NamedTuple):
    """A blurred image and its sharp twin."""

    name: str
    """Unique in its set: the path without suffix, relative to the set."""
    blurred: Path
    sharp: Path

    @property
    def group(self) -> str:
        """What the pair was cut from: its sequence, photograph or folder. Pairs of one group aren't independent."""
        return self.name.rpartition("/")[0]


class PairSet(Protocol):
    """A data set. `train`, `val` and the test sets are disjoint; `val` serves to choose a checkpoint."""

    def prepare(self) -> None:
        """Make or check what must be on disk; called once per machine before anything is read."""

    def train(self) -> list[Pair]: ...

    def val(self) -> list[Pair]: ...

    def tests(self) -> dict[str, list[Pair]]:
        """Test sets by name; may be empty."""


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
                f"{_some(sorted(lone))} of {here} without a twin of that name in {there}"
            )
    return [Pair(name, left[name], right[name]) for name in sorted(left)]


class Folders:
    """Any two folders of pairs. Without folders for validation, the last `val_share` of the pairs in the order of
    their names is held out: neighbours are often frames of one video, and the tail of a list leaks less than a
    random draw.

    Raises:
        UserError: As `match`; or only one folder of two is given; or nothing is left to train or validate on.
    """

    def __init__(
        self,
        *,
        blurred: str,
        sharp: str,
        val_blurred: str | None = None,
        val_sharp: str | None = None,
        val_share: float = 0.1,
        test_blurred: str | None = None,
        test_sharp: str | None = None,
    ) -> None:
        if not 0 < val_share < 1:
            raise UserError(f"data.val_share is {val_share}: it is a share between 0 and 1")
        for one, other, what in ((val_blurred, val_sharp, "val"), (test_blurred, test_sharp, "test")):
            if (one is None) != (other is None):
                raise UserError(f"data.{what}_blurred and data.{what}_sharp go together: give both or none")
        self._train = Path(blurred), Path(sharp)
        self._val = None if val_blurred is None or val_sharp is None else (Path(val_blurred), Path(val_sharp))
        self._test = None if test_blurred is None or test_sharp is None else (Path(test_blurred), Path(test_sharp))
        self._val_share = val_share

    def prepare(self) -> None:
        self.train(), self.val(), self.tests()

    def train(self) -> list[Pair]:
        pairs = match(*self._train)
        return pairs if self._val else pairs[: -self._held_out(pairs)]

    def val(self) -> list[Pair]:
        if self._val:
            return match(*self._val)
        pairs = match(*self._train)
        return pairs[-self._held_out(pairs) :]

    def tests(self) -> dict[str, list[Pair]]:
        return {"pairs": match(*self._test)} if self._test else {}

    def _held_out(self, pairs: list[Pair]) -> int:
        if len(pairs) < 2:
            raise UserError(f"{self._train[0]} holds a single pair: there is nothing to validate on")
        return min(len(pairs) - 1, max(1, round(self._val_share * len(pairs))))


def _by_name(folder: Path) -> dict[str, Path]:
    files = find_images(folder)
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UserError(f"{folder} has several files called {_some(twice)}, which differ only in their suffix")
    return dict(zip(names, files, strict=True))


def _some(names: Iterable[str]) -> str:
    """A few of many names."""
    names = list(names)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
