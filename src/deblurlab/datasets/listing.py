"""Items of a data set: pairs and single images, and the functions that list them."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from deblurlab.errors import UserError, list_first
from deblurlab.media.images import find_images, natural_key

Reference = Any
"""What a data set finds an image by, hashable: the path of a file, a number, a key of an archive."""


class Part(NamedTuple):
    """Image of one of several data sets."""

    source: str
    """Name of the data set."""
    image: Reference

    def __str__(self) -> str:
        return str(self.image)


class Pair(NamedTuple):
    """A blurred image and its sharp reference."""

    name: str
    """Unique in its data set; for files, the path without suffix, relative to the data set."""
    blurred: Reference
    sharp: Reference
    extra_references: tuple[Reference, ...] = ()
    """Further sharp references; a metric takes the best value over all references."""

    @property
    def group(self) -> str:
        """Sequence, photograph or folder that the pair was taken from. Pairs of one group aren't independent."""
        return self.name.rpartition("/")[0]

    @property
    def references(self) -> tuple[Reference, ...]:
        """Sharp images that a restored one is compared with."""
        return self.sharp, *self.extra_references

    @property
    def images(self) -> tuple[Reference, ...]:
        """All images, the blurred one first."""
        return self.blurred, self.sharp, *self.extra_references

    @property
    def original(self) -> Reference:
        """Image that identifies the pair when duplicates are searched for."""
        return self.sharp

    def renamed(self, name: str, image: Callable[[Reference], Reference]) -> "Pair":
        """Return the pair with another name and with `image` applied to its images."""
        extra = tuple(map(image, self.extra_references))
        return self._replace(name=name, blurred=image(self.blurred), sharp=image(self.sharp), extra_references=extra)


class Unreferenced(Pair):
    """A blurred image without a reference. `sharp` is an unrelated image, for training and for metrics of sets."""

    @property
    def references(self) -> tuple[Reference, ...]:
        """No image."""
        return ()

    @property
    def original(self) -> Reference:
        """Image that identifies the item when duplicates are searched for."""
        return self.blurred


class Single(NamedTuple):
    """A single image: a blurred one without any sharp image, or an image of one side of an unpaired data set."""

    name: str
    """Unique in its data set; for files, the path without suffix, relative to the data set."""
    image: Reference

    @property
    def group(self) -> str:
        """Folder of the image."""
        return self.name.rpartition("/")[0]

    @property
    def blurred(self) -> Reference:
        """The image, which is blurred if it is validated or tested on."""
        return self.image

    @property
    def references(self) -> tuple[Reference, ...]:
        """No image."""
        return ()

    @property
    def images(self) -> tuple[Reference, ...]:
        """The image."""
        return (self.image,)

    @property
    def original(self) -> Reference:
        """Image that identifies the item when duplicates are searched for."""
        return self.image

    def renamed(self, name: str, image: Callable[[Reference], Reference]) -> "Single":
        """Return the item with another name and with `image` applied to its image."""
        return Single(name, image(self.image))


Item = Pair | Single
T = TypeVar("T")


def image_file(reference: Reference) -> Path | None:
    """Return the file of an image; None if the data set finds it by anything else than the path of a file."""
    while isinstance(reference, Part):
        reference = reference.image
    return reference if isinstance(reference, Path) else None


def hold_out(items: Sequence[T], share: float) -> tuple[list[T], list[T]]:
    """Return items to train on, and the last `share` of them to validate on, at least one of either.

    Neighbours are often frames of one video, so the end of the list overlaps less with the rest than a random draw.

    Raises:
        UserError: There are fewer than two items.
    """
    if len(items) < 2:
        raise UserError(
            f"the data set has {len(items)} training pairs, and nothing to validate on: add pairs, or name validation "
            f"pairs, such as data.val_list"
        )
    count = min(len(items) - 1, max(1, round(share * len(items))))
    return [*items[:-count]], [*items[-count:]]


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
    return [Pair(name, left[name], right[name]) for name in sorted(left, key=natural_key)]


def list_singles(folder: Path) -> list[Single]:
    """Return the images of a folder, nested or flat, sorted by name.

    Raises:
        UserError: The folder is missing or empty, or two files differ only in their suffix.
    """
    return [Single(name, path) for name, path in _files_by_name(folder).items()]


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
    names = [item_name(path.relative_to(folder)) for path in files]
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise UserError(
            f"{folder} has several files called {list_first(duplicates)} with different suffixes: rename them"
        )
    return dict(zip(names, files, strict=True))


def item_name(path: Path) -> str:
    r"""Return a relative path without suffix as text: bytes that aren't UTF-8 become escapes such as \xe9."""
    return os.fsencode(path.with_suffix("").as_posix()).decode(errors="backslashreplace")
