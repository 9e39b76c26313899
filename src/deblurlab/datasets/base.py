"""Where pairs lie on disk."""

import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from deblurlab.errors import UserError, list_first
from deblurlab.media.images import find_images


class Pair(NamedTuple):
    """A blurred image and its sharp twin."""

    name: str
    """Unique in its set: the path without suffix, relative to the set."""
    blurred: Path
    sharp: Path
    extra_references: tuple[Path, ...] = ()
    """Further sharp images that the restored one may be like as well; the best score counts."""

    @property
    def group(self) -> str:
        """What the pair was cut from: its sequence, photograph or folder. Pairs of one group aren't independent."""
        return self.name.rpartition("/")[0]

    @property
    def files(self) -> tuple[Path, ...]:
        return self.blurred, self.sharp, *self.extra_references

    @property
    def original(self) -> Path:
        """The image that the others are versions of."""
        return self.sharp


class Unreferenced(Pair):
    """A blurred image and some sharp one, which has nothing to do with it, where there are no pairs to validate on."""


class Single(NamedTuple):
    """An image without a twin."""

    name: str
    image: Path

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.image,)

    @property
    def original(self) -> Path:
        return self.image


def missing(name: str, place: Path, what: str, paper: str) -> UserError:
    """The error for a data set that isn't there; nothing is downloaded."""
    return UserError(
        f"there is no {name} data set at {place}: get {what} from the project page of {paper}, and unpack it so that "
        f"{place} exists, or say where it is: data.root=<folder>"
    )


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
                f"{list_first(sorted(lone))} of {here} without a twin of that name in {there}"
            )
    return [Pair(name, left[name], right[name]) for name in sorted(left)]


def singles(folder: Path) -> list[Single]:
    """The images of a folder, nested or flat, sorted by their names.

    Raises:
        UserError: The folder is missing or empty, or two files differ only in their suffix.
    """
    return [Single(name, path) for name, path in sorted(_by_name(folder).items())]


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


def _by_name(folder: Path) -> dict[str, Path]:
    files = find_images(folder)
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise UserError(f"{folder} has several files called {list_first(twice)}, which differ only in their suffix")
    return dict(zip(names, files, strict=True))
