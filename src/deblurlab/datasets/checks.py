"""Whether a data set is whole: counts, sizes, files that can't be read, images that are in two splits."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from deblurlab.datasets.base import Pair, Single
from deblurlab.datasets.sets import Splits
from deblurlab.errors import UserError
from deblurlab.media.images import read_image


class Look(NamedTuple):
    """What reading a pair or an image has shown."""

    size: tuple[int, int] | None
    """Width and height; None if it can't be used."""
    complaint: str | None
    digest: bytes
    """Of the pixels of the original."""


@dataclass
class Findings:
    """What is wrong with a data set, and what isn't."""

    counts: dict[str, int]
    published: Mapping[str, int]
    complaints: list[str] = field(default_factory=list)
    sizes: dict[str, set[tuple[int, int]]] = field(default_factory=dict)
    """Split -> (width, height) of its images."""
    good: list[Pair | Single] = field(default_factory=list)
    """What can be used."""


def check(splits: Splits, published: Mapping[str, int]) -> Iterator[tuple[int, Findings]]:
    """Read every pair or single image; yields the number of those that are done and what has been found so far, and
    once more at the end, when splits have been compared with one another and counts with the published ones."""
    findings = Findings({split: len(pairs) for split, pairs in splits.items()}, published)
    work = [(split, pair) for split, pairs in splits.items() for pair in pairs]
    seen: dict[bytes, tuple[str, Path]] = {}
    for done, ((split, pair), look) in enumerate(zip(work, _looks([pair for _, pair in work]), strict=True), start=1):
        if look.complaint is not None:
            findings.complaints.append(look.complaint)
        else:
            assert look.size is not None
            findings.sizes.setdefault(split, set()).add(look.size)
            other, twin = seen.setdefault(look.digest, (split, pair.original))
            if other != split:
                findings.complaints.append(f"{pair.original} ({split}) is the same image as {twin} ({other})")
            else:
                findings.good.append(pair)
        yield done, findings
    for split, count in published.items():
        found = findings.counts.get(split, 0)
        if found != count:
            findings.complaints.append(f"{split} has {found} pairs; published are {count}")
    yield len(work), findings


def look_at(item: Pair | Single) -> Look:
    """Read it."""
    try:
        images = {path: read_image(path) for path in item.files}
    except UserError as error:
        return Look(None, str(error), b"")
    original = images[item.original]
    for path, image in images.items():
        if image.shape != original.shape:
            left, right = (f"{one.shape[1]}x{one.shape[0]}" for one in (image, original))
            return Look(None, f"{path} is {left} and {item.original} {right}: a pair has one size", b"")
    return Look((original.shape[1], original.shape[0]), None, sha256(original.data).digest())


def _looks(pairs: Sequence[Pair | Single]) -> Iterator[Look]:
    workers = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
    if len(pairs) < 64 or workers == 1:  # starting processes takes longer
        yield from map(look_at, pairs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(look_at, pairs, chunksize=8)
