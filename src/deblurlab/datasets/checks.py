"""Integrity check of a data set: counts, sizes, unreadable files, images that are in two splits."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from deblurlab.datasets.base import ImageSet, Splits
from deblurlab.datasets.frame_store import Reader
from deblurlab.datasets.listing import Item, Reference
from deblurlab.datasets.samples import read_checked
from deblurlab.errors import UserError
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
    usable: list[Item] = field(default_factory=list)


def inspect_splits(data: ImageSet, splits: Splits) -> Iterator[tuple[int, Findings]]:
    """Read every item; yield the number of items read and the findings so far, at the end the complete findings.

    Image files are read themselves, not their copies in a frame store.

    An image that is in two splits is a problem, and so is a count that differs from the published one.
    """
    data.open(packed=False)
    published = data.published
    findings = Findings({split: len(items) for split, items in splits.items()}, published)
    work = [(split, item) for split, items in splits.items() for item in items]
    seen: dict[bytes, tuple[str, Reference]] = {}
    inspections = _inspect_all([item for _, item in work], data.read)
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
        held_out = findings.counts.get("val", 0) if split == "train" and "val" not in published else 0
        found = findings.counts.get(split, 0) + held_out
        if found != count:
            name = f"{split} and val have" if held_out else f"{split} has"
            findings.problems.append(f"{name} {found} pairs instead of the published {count}")
    yield len(work), findings


def inspect_item(item: Item, read: Reader) -> Inspection:
    """Read all images of an item, and report its size or the problem."""
    try:
        images = {reference: read_checked(reference, read) for reference in item.images}
    except UserError as error:
        return Inspection(None, str(error), b"")
    original = images[item.original]
    for reference in (item.blurred, *item.references):
        image = images[reference]
        if image.shape != original.shape:
            size, original_size = (f"{one.shape[1]}x{one.shape[0]}" for one in (image, original))
            problem = f"{reference} is {size} and {item.original} {original_size}: a pair must have one size"
            return Inspection(None, problem, b"")
    height, width = original.shape[:2]
    return Inspection((width, height), None, sha256(np.ascontiguousarray(original).data).digest())


def worker_count() -> int:
    """Return the number of processes for image files: one per available CPU, at most 16."""
    return min(available_cpus(), 16)


def _inspect_all(items: Sequence[Item], read: Reader) -> Iterator[Inspection]:
    inspect = partial(inspect_item, read=read)
    workers = worker_count()
    if len(items) < _MIN_PARALLEL_ITEMS or workers == 1:
        yield from map(inspect, items)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(inspect, items, chunksize=8)
