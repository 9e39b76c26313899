"""Summary of an evaluation: means, standard errors, speed and memory."""

import math
import resource
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from deblurlab.evaluation.evaluator import Row
from deblurlab.metrics import Measurement


def summarise(
    rows: Sequence[Row], measurement: Measurement, whole: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Return the results of all rows together, and the values of whole sets."""
    return {
        **measurement.describe(),
        "sets": {
            name: {**means, **_defined(whole[name])} for name, means in _set_means(rows, measurement.names).items()
        },
        "failed": {f"{row['set']}/{row['image']}": row["error"] for row in rows if row["error"]},
        "seconds_per_megapixel": _seconds_per_megapixel(rows),
        "peak_memory_mib": _peak_memory(),
    }


def _set_means(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Any]:
    """Return the mean and the standard error of each metric over the restored images of each set."""
    sets: dict[str, Any] = {}
    for name in dict.fromkeys(row["set"] for row in rows):
        good = [row for row in rows if row["set"] == name and not row["error"]]
        keys = [key + end for key in names for end in ("", "_blurred") if good and key + end in good[0]]
        sets[name] = {
            "images": len(good),
            "failed": sum(row["set"] == name for row in rows) - len(good),
            "untouched": sum(row["untouched"] is not None for row in good),
            **{key: math.fsum(row[key] for row in good) / len(good) for key in keys},
            "standard_error": {key: _standard_error([row[key] for row in good]) for key in keys},
        }
    return sets


def _defined(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if not math.isnan(value)}


def _standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean; None if it is undefined."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    return statistics.stdev(values) / math.sqrt(len(values))


def _seconds_per_megapixel(rows: Sequence[Row]) -> float | None:
    """Return the median over the restored images."""
    speeds = [row["seconds"] / row["megapixels"] for row in rows if not row["error"]]
    return statistics.median(speeds) if speeds else None


def _peak_memory() -> float:
    """Return the peak memory of the GPU if one was used, otherwise of this process, in MiB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
