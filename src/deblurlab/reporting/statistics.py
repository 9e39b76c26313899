"""Whether a difference is real."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deblurlab.errors import UserError
from deblurlab.metrics import METRICS
from deblurlab.runs.folder import Run

_DRAWS = 10_000
PerImage = Mapping[tuple[str, str], Mapping[str, float | None]]
"""(set, image) -> metric -> value."""


class Difference(NamedTuple):
    """How much B is above A, over the images that both restored."""

    mean: float
    standard_error: float
    low: float
    """Of the 95 % interval; NaN if all images are of one group."""
    high: float
    images: int
    groups: int
    """Photographs or sequences, which are drawn as wholes: their images aren't independent."""

    @property
    def real(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(differences: Mapping[str, Sequence[float]], *, seed: int = 0) -> Difference:
    """The mean of paired differences and its 95 % percentile interval, groups drawn with replacement (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13): `{group: differences of its images}`.

    Raises:
        ValueError: There are no differences.
    """
    nothing = {group: [0.0] * len(values) for group, values in differences.items()}
    return bootstrap_over_seeds([nothing], [differences], seed=seed)


def bootstrap_over_seeds(
    first: Sequence[Mapping[str, Sequence[float]]], second: Sequence[Mapping[str, Sequence[float]]], *, seed: int = 0
) -> Difference:
    """How much the second configuration is above the first, each trained with one or more seeds: the difference of
    means over images and seeds, and its 95 % percentile interval. Groups of images are drawn with replacement, the same
    for both, and the seeds of each (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).

    Args:
        first: For each seed `{group: scores of its images}`; all have the same images.
        second: Likewise.

    Raises:
        ValueError: There are no scores.
    """
    groups = [group for group, values in first[0].items() if len(values)] if first else []
    if not groups or not second:
        raise ValueError("no image was restored by both")
    counts = np.array([len(first[0][group]) for group in groups])
    sums = [np.array([[np.sum(scores[group]) for group in groups] for scores in side]) for side in (first, second)]
    means = [side.sum() / len(side) / counts.sum() for side in sums]
    mean, images = float(means[1] - means[0]), int(counts.sum())
    if len(groups) == 1:
        return Difference(mean, float("nan"), float("nan"), float("nan"), images, 1)
    random = np.random.default_rng(seed)
    weights = _drawn(random, len(groups))
    a, b = (_drawn(random, len(side)) @ side / len(side) for side in sums)
    drawn = (weights * (b - a)).sum(axis=1) / (weights @ counts)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(mean, float(drawn.std(ddof=1)), float(low), float(high), images, len(groups))


def _drawn(random: np.random.Generator, size: int) -> np.ndarray:
    """How often each of so many things comes in each draw of as many, with replacement: `(draws, size)`."""
    times = np.zeros((_DRAWS, size))
    np.add.at(times, (np.arange(_DRAWS)[:, None], random.integers(size, size=(_DRAWS, size))), 1)
    return times


def compare(first: Path, second: Path) -> dict[str, dict[str, Difference]]:
    """`{set: {metric: how much the second run is above the first}}`, for the sets and metrics of both.

    Raises:
        UserError: A folder holds no results, the protocols differ, or nothing was measured by both.
    """
    runs = Run(first), Run(second)
    protocols = []
    for run in runs:
        results = run.results()
        if results is None or not run.per_image_file.is_file():
            raise UserError(f"{run.folder} holds no finished run")
        protocols.append(results["protocol"])
    tables = [per_image(run.per_image_file) for run in runs]
    shared = [key for key in tables[0] if key in tables[1]]
    if not shared:
        raise UserError(f"{first} and {second} have no image in common")
    metrics = [m for m in tables[0][shared[0]] if m in tables[1][shared[0]] and not m.endswith("_blurred")]
    conditions = [{k: v for k, v in p.items() if k in metrics or k not in METRICS} for p in protocols]
    if conditions[0] != conditions[1]:
        raise UserError(f"{first} and {second} were measured by different protocols: they can't be compared")
    for key in shared:
        blurred = [{m: table[key].get(f"{m}_blurred") for m in metrics} for table in tables]
        if blurred[0] != blurred[1]:
            raise UserError(f"{first} and {second} restored other images by the name of {key[1]}: other data?")
    found: dict[str, dict[str, Difference]] = {}
    for name in dict.fromkeys(name for name, _ in shared):
        for metric in metrics:
            groups: dict[str, list[float]] = {}
            for key in (key for key in shared if key[0] == name):
                a, b = (table[key].get(metric) for table in tables)
                if a is not None and b is not None and np.isfinite([a, b]).all():
                    groups.setdefault(key[1].rpartition("/")[0] or key[1], []).append(b - a)
            if groups:
                found.setdefault(name, {})[metric] = paired_bootstrap(groups)
    return found


def per_image(file: Path) -> PerImage:
    """(set, image) -> metric of the restored, and as `<metric>_blurred` of the blurred image -> value."""
    with file.open(newline="") as text:
        rows: list[dict[str, Any]] = list(csv.DictReader(text))
    restored = [name for name in (rows[0] if rows else {}) if f"{name}_blurred" in rows[0]]
    names = [name + end for name in restored for end in ("", "_blurred")]
    return {
        (row["set"], row["image"]): {name: float(row[name]) if row[name] else None for name in names} for row in rows
    }
