"""Image files of a data set: pairs and single images, and the functions that list them."""

import shlex
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from deblurlab.errors import UserError, list_first
from deblurlab.media.images import find_images


class Pair(NamedTuple):
    """A blurred image and its sharp reference."""

    name: str
    """Unique in its data set: the path without suffix, relative to the data set."""
    blurred: Path
    sharp: Path
    extra_references: tuple[Path, ...] = ()
    """Further sharp references; a metric takes the best value over all references."""

    @property
    def group(self) -> str:
        """Sequence, photograph or folder that the pair was taken from. Pairs of one group aren't independent."""
        return self.name.rpartition("/")[0]

    @property
    def files(self) -> tuple[Path, ...]:
        """All image files of the pair, the blurred one first."""
        return self.blurred, self.sharp, *self.extra_references

    @property
    def original(self) -> Path:
        """Image that identifies the pair when duplicates are searched for."""
        return self.sharp


class Unreferenced(Pair):
    """A blurred image without a reference. `sharp` is an unrelated image, for metrics that compare two sets."""


class Single(NamedTuple):
    """A single image, blurred or sharp."""

    name: str
    """Unique in its data set: the path without suffix, relative to the data set."""
    image: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """The image file."""
        return (self.image,)

    @property
    def original(self) -> Path:
        """Image that identifies the item when duplicates are searched for."""
        return self.image


def match_pairs(blurred: Path, sharp: Path) -> list[Pair]:
    """Return the pairs of two folders, nested or flat, sorted by name.

    Files form a pair if their paths relative to the folders agree up to the suffix.

    Raises:
        UserError: A folder is missing or empty, or a file has no counterpart in the other folder.
    """
    left, right = _files_by_name(blurred), _files_by_name(sharp)
    for here, there, unmatched in (
        (blurred, sharp, left.keys() - right.keys()),
        (sharp, blurred, right.keys() - left.keys()),
    ):
        if unmatched:
            raise UserError(
                f"{len(left)} images in {blurred}, {len(right)} in {sharp}: {list_first(sorted(unmatched))} of {here} "
                f"without a file of the same name in {there}; add it, or remove the image"
            )
    return [Pair(name, left[name], right[name]) for name in sorted(left)]


def list_singles(folder: Path) -> list[Single]:
    """Return the images of a folder, nested or flat, sorted by name.

    Raises:
        UserError: The folder is missing or empty, or two files differ only in their suffix.
    """
    return [Single(name, path) for name, path in sorted(_files_by_name(folder).items())]


def read_pair_list(file: Path, root: Path, *, sharp_first: bool = False) -> list[Pair]:
    """Return the pairs that a text file lists: two paths per line, relative to `root`, shell quoting allowed.

    The blurred image comes first unless `sharp_first`. Empty lines and lines that begin with # are ignored.

    Raises:
        UserError: The file is missing, a line doesn't hold two paths, or an image doesn't exist.
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


def missing_error(name: str, folder: Path, files: str, page: str) -> UserError:
    """Return the error for a data set that isn't on disk. Nothing is downloaded automatically.

    Args:
        name: Name of the data set.
        folder: Folder or file that is missing.
        files: What to download.
        page: Address of the data set's project page.
    """
    return UserError(
        f"there is no {name} data set at {folder}: download {files} from {page} and unpack it so that {folder} "
        f"exists, or set data.root=<folder>"
    )


def _files_by_name(folder: Path) -> dict[str, Path]:
    files = find_images(folder)
    names = [path.relative_to(folder).with_suffix("").as_posix() for path in files]
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise UserError(
            f"{folder} has several files called {list_first(duplicates)} with different suffixes: rename them"
        )
    return dict(zip(names, files, strict=True))
