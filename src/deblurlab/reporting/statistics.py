"""Confidence intervals of differences between evaluations and between configurations."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deblurlab.errors import UserError
from deblurlab.reporting.metrics import metrics_of
from deblurlab.runs.folder import Run

_RESAMPLES = 10_000
"""Number of bootstrap samples."""
MIN_GROUPS = 10
"""Smallest number of groups of images with which a difference is called significant or not."""
PerImage = Mapping[tuple[str, str], Mapping[str, float | None]]
"""(set, image) -> metric -> value."""


class Difference(NamedTuple):
    """Mean of B - A over the images of both, and its confidence interval."""

    mean: float
    standard_error: float
    low: float
    """Lower end of the 95 % interval; NaN if all images belong to one group."""
    high: float
    """Upper end of the 95 % interval."""
    images: int
    groups: int
    """Number of photographs or sequences. The bootstrap resamples groups, because images of one group are dependent."""

    @property
    def significant(self) -> bool:
        """Return whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(differences: Mapping[str, Sequence[float]], *, seed: int = 0) -> Difference:
    """Return the mean of paired differences and its 95 % percentile interval, resampling groups with replacement.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.

    Args:
        differences: Group -> differences of its images.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no differences.
    """
    zeros = {group: [0.0] * len(values) for group, values in differences.items()}
    return bootstrap_over_seeds([zeros], [differences], seed=seed)


def bootstrap_over_seeds(
    first: Sequence[Mapping[str, Sequence[float]]], second: Sequence[Mapping[str, Sequence[float]]], *, seed: int = 0
) -> Difference:
    """Return the difference of means over images and seeds, second - first, and its 95 % percentile interval.

    Each configuration was trained with one or more seeds. Groups of images are resampled with replacement, the same
    for both configurations, and so are the seeds of each (Davison and Hinkley, "Bootstrap Methods and their
    Application", 1997, section 3.8).

    Args:
        first: For each seed: group -> values of its images. All seeds have the same images.
        second: The same for the second configuration.
        seed: Seed of the resampling.

    Raises:
        ValueError: There are no values.
    """
    groups = [group for group, values in first[0].items() if len(values)] if first else []
    if not groups or not second:
        raise ValueError("no image was restored by both")
    counts = np.array([len(first[0][group]) for group in groups])
    sums = [np.array([[np.sum(values[group]) for group in groups] for values in side]) for side in (first, second)]
    means = [side.sum() / len(side) / counts.sum() for side in sums]
    mean, images = float(means[1] - means[0]), int(counts.sum())
    if len(groups) == 1:
        return Difference(mean, float("nan"), float("nan"), float("nan"), images, 1)
    random = np.random.default_rng(seed)
    weights = _resample_counts(random, len(groups))
    a, b = (_resample_counts(random, len(side)) @ side / len(side) for side in sums)
    resampled = (weights * (b - a)).sum(axis=1) / (weights @ counts)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Difference(mean, float(resampled.std(ddof=1)), float(low), float(high), images, len(groups))


def _resample_counts(random: np.random.Generator, size: int) -> np.ndarray:
    """Return how often each of `size` items occurs in each bootstrap sample, `(resamples, size)`."""
    times = np.zeros((_RESAMPLES, size))
    np.add.at(times, (np.arange(_RESAMPLES)[:, None], random.integers(size, size=(_RESAMPLES, size))), 1)
    return times


def compare(first: Path, second: Path) -> dict[str, dict[str, Difference]]:
    """Return the differences second - first by set and metric, for the sets and metrics of both runs.

    Raises:
        UserError: A folder contains no results, the protocols differ, or the runs have no image in common.
    """
    runs = Run(first), Run(second)
    protocols = []
    for run in runs:
        results = run.results()
        if results is None or not run.per_image_file.is_file():
            raise UserError(f"{run.folder} contains no finished run: wait for it, or choose another folder")
        protocols.append((results["protocol"], metrics_of(results)))
    tables = [per_image(run.per_image_file) for run in runs]
    shared = [key for key in tables[0] if key in tables[1]]
    if not shared:
        raise UserError(f"{first} and {second} have no image in common: evaluate both on the same data")
    metrics = [
        m for m in tables[0][shared[0]] if m in tables[1][shared[0]] and all(m in known for _, known in protocols)
    ]
    conditions = [{k: v for k, v in p.items() if k in metrics or k not in known} for p, known in protocols]
    if conditions[0] != conditions[1]:
        raise UserError(
            f"{first} and {second} were measured by different protocols and are not comparable: evaluate both with the "
            f"same protocol="
        )
    for key in shared:
        blurred = [[table[key].get(f"{m}_blurred") for m in metrics] for table in tables]
        if not all(map(_nearly_equal, *blurred)):
            raise UserError(
                f"{first} and {second} restored different images named {key[1]}: evaluate both on the same data"
            )
    found: dict[str, dict[str, Difference]] = {}
    for name in dict.fromkeys(name for name, _ in shared):
        for metric in metrics:
            groups: dict[str, list[float]] = {}
            for key in (key for key in shared if key[0] == name):
                a, b = (table[key].get(metric) for table in tables)
                if a is not None and b is not None and np.isfinite([a, b]).all():
                    groups.setdefault(group_of(key[1]), []).append(b - a)
            if groups:
                found.setdefault(name, {})[metric] = paired_bootstrap(groups)
    return found


def group_of(image: str) -> str:
    """Return the photograph or sequence that an image belongs to: its folder, or itself."""
    return image.rpartition("/")[0] or image


def _nearly_equal(a: float | None, b: float | None) -> bool:
    """Return whether two values may be those of one image, measured on different devices."""
    return a == b or (a is not None and b is not None and math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6))


def per_image(file: Path) -> PerImage:
    """Read per_image.csv; the metrics of blurred images are named `<metric>_blurred`."""
    with file.open(newline="") as text:
        rows: list[dict[str, Any]] = list(csv.DictReader(text))
    restored = [name for name in (rows[0] if rows else {}) if f"{name}_blurred" in rows[0]]
    names = [name + end for name in restored for end in ("", "_blurred")]
    return {
        (row["set"], row["image"]): {name: float(row[name]) if row[name] else None for name in names} for row in rows
    }
