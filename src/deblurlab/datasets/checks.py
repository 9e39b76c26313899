"""Integrity check of a data set: counts, sizes, unreadable files, images that are in two splits."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from deblurlab.datasets.base import Splits
from deblurlab.datasets.listing import Pair, Single
from deblurlab.errors import UserError
from deblurlab.media.images import read_image
from deblurlab.runs.cpus import available_cpus

_MIN_PARALLEL_ITEMS = 64
"""Below this number of items, starting processes takes longer than reading the images."""


class Inspection(NamedTuple):
    """Result of reading one pair or single image."""

    size: tuple[int, int] | None
    """Width and height; None if the item can't be used."""
    problem: str | None
    digest: bytes
    """SHA-256 of the original's pixels."""


@dataclass
class Findings:
    """Results of the check of a data set."""

    counts: dict[str, int]
    """Number of items by split."""
    published: Mapping[str, int]
    """Number of items by split, as the data set's authors state it."""
    problems: list[str] = field(default_factory=list)
    sizes: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    """(width, height) of the images by split."""
    usable: list[Pair | Single] = field(default_factory=list)


def inspect_splits(splits: Splits, published: Mapping[str, int]) -> Iterator[tuple[int, Findings]]:
    """Read every item; yield the number of items read and the findings so far, at the end the complete findings.

    An image that is in two splits is a problem, and so is a count that differs from the published one.
    """
    findings = Findings({split: len(items) for split, items in splits.items()}, published)
    work = [(split, item) for split, items in splits.items() for item in items]
    seen: dict[bytes, tuple[str, Path]] = {}
    inspections = _inspect_all([item for _, item in work])
    for done, ((split, item), inspection) in enumerate(zip(work, inspections, strict=True), start=1):
        if inspection.problem is not None:
            findings.problems.append(inspection.problem)
        else:
            assert inspection.size is not None
            findings.sizes.setdefault(split, set()).add(inspection.size)
            first_split, duplicate = seen.setdefault(inspection.digest, (split, item.original))
            if first_split != split:
                findings.problems.append(f"{item.original} ({split}) is the same image as {duplicate} ({first_split})")
            else:
                findings.usable.append(item)
        yield done, findings
    for split, count in published.items():
        found = findings.counts.get(split, 0)
        if found != count:
            findings.problems.append(f"{split} has {found} pairs instead of the published {count}")
    yield len(work), findings


def inspect_item(item: Pair | Single) -> Inspection:
    """Read all images of a pair or single image, and report its size or the problem."""
    try:
        images = {path: read_image(path) for path in item.files}
    except UserError as error:
        return Inspection(None, str(error), b"")
    original = images[item.original]
    for path, image in images.items():
        if image.shape != original.shape:
            size, original_size = (f"{one.shape[1]}x{one.shape[0]}" for one in (image, original))
            problem = f"{path} is {size} and {item.original} {original_size}: a pair must have one size"
            return Inspection(None, problem, b"")
    return Inspection((original.shape[1], original.shape[0]), None, sha256(original.data).digest())


def worker_count() -> int:
    """Return the number of processes for image files: one per available CPU, at most 16."""
    return min(available_cpus(), 16)


def _inspect_all(items: Sequence[Pair | Single]) -> Iterator[Inspection]:
    workers = worker_count()
    if len(items) < _MIN_PARALLEL_ITEMS or workers == 1:
        yield from map(inspect_item, items)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(inspect_item, items, chunksize=8)
