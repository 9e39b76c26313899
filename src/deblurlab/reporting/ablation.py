"""Ablation table: one row for each configuration of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deblurlab.errors import UserError
from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.comparison import format_count
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.statistics import Difference, bootstrap_over_seeds
from deblurlab.reporting.sweep import Configuration, Job, configurations, read_jobs

Values = dict[tuple[str, str], dict[str, list[float]]]
"""(set, metric) -> image -> value for each seed."""


@dataclass(frozen=True)
class Ablation:
    """Results of a sweep and the comparison of its configurations."""

    folder: Path
    jobs: Sequence[Job]
    configurations: Sequence[Configuration]
    baseline: int
    """Index of the configuration that the others are compared with."""
    differences: Sequence[Mapping[tuple[str, str], Difference]]
    """For each configuration its differences from the baseline, by (set, metric); empty for the baseline itself."""

    @property
    def measured(self) -> list[tuple[str, str]]:
        """The (set, metric) pairs that were measured."""
        sets = self.configurations[0].jobs[0].results["sets"]
        return [(name, metric) for name, values in sets.items() for metric in self.metrics if metric in values]

    @cached_property
    def metrics(self) -> dict[str, MetricInfo]:
        """The metrics of all jobs by name."""
        return metrics_of(*(job.results for configuration in self.configurations for job in configuration.jobs))


def read_ablation(folder: Path, baseline: Mapping[str, str]) -> Ablation:
    """Read a sweep's folder and compare its configurations.

    Args:
        folder: Folder of the sweep.
        baseline: Varied settings of the configuration to compare with; if empty, the one that started first.

    Raises:
        UserError: No job has finished, the jobs are not comparable, or no configuration has the baseline's settings.
    """
    jobs = read_jobs(folder)
    found = configurations(jobs)
    baseline_index = _find_baseline(found, baseline)
    baseline_values = _values(found[baseline_index])
    differences: list[dict[tuple[str, str], Difference]] = []
    for i, configuration in enumerate(found):
        values = {} if i == baseline_index else _values(configuration)
        compared = {key: _difference(baseline_values[key], v) for key, v in values.items() if key in baseline_values}
        differences.append(compared)
    return Ablation(folder, jobs, found, baseline_index, differences)


def table(ablation: Ablation) -> list[dict[str, str]]:
    """Return one row per configuration: varied settings, metrics over seeds, and differences from the baseline."""
    several = len({name for name, _ in ablation.measured}) > 1
    rows = []
    for i, configuration in enumerate(ablation.configurations):
        row = {**configuration.varied, "seeds": str(len(configuration.jobs))}
        for name, metric in ablation.measured:
            info = ablation.metrics[metric]
            title = f"{info.heading}, {name}" if several else info.heading
            row[title] = _format_mean(info, [job.results["sets"][name].get(metric) for job in configuration.jobs])
            difference = ablation.differences[i].get((name, metric))
            row[f"difference in {title}"] = (
                "baseline" if i == ablation.baseline else _format_difference(info, difference)
            )
        results = [job.results for job in configuration.jobs]
        row["parameters"] = format_count(results[0]["parameters"])
        row["hours"] = f"{np.mean([result['seconds'] for result in results]) / 3600:.2f}"
        rows.append(row)
    return rows


def numbers(ablation: Ablation) -> list[dict[str, str | float | None]]:
    """Return one row per configuration as `table` does, with one unrounded number per column."""
    rows = []
    for i, configuration in enumerate(ablation.configurations):
        row: dict[str, str | float | None] = {**configuration.varied, "seeds": len(configuration.jobs)}
        results = [job.results for job in configuration.jobs]
        for name, metric in ablation.measured:
            found = [value for result in results if (value := result["sets"][name].get(metric)) is not None]
            difference = ablation.differences[i].get((name, metric))
            key = f"{name}/{metric}"
            row[key] = float(np.mean(found)) if found else None
            row[f"{key} deviation"] = float(np.std(found, ddof=1)) if len(found) > 1 else None
            row[f"{key} difference"] = difference.mean if difference else None
            interval = difference if difference and difference.groups > 1 else None
            row[f"{key} low"] = interval.low if interval else None
            row[f"{key} high"] = interval.high if interval else None
        row["parameters"] = results[0]["parameters"]
        row["seconds"] = float(np.mean([result["seconds"] for result in results]))
        rows.append(row)
    return rows


def table_notes(ablation: Ablation) -> list[str]:
    """Return the notes below the table: baseline, statistics, protocol and unfinished jobs."""
    protocol = ablation.configurations[0].jobs[0].results["protocol"]
    baseline = label(ablation.configurations[ablation.baseline])
    lines = [
        f"baseline: {baseline}; mean ± standard deviation over seeds; differences with 95 % bootstrap intervals over "
        f"photographs and seeds",
        "protocol: " + "; ".join(f"{key}: {value}" for key, value in protocol.items()),
    ]
    return lines + [f"{job.run.folder} {job.state}: {job.detail}" for job in ablation.jobs if job.state != "finished"]


def label(configuration: Configuration) -> str:
    """Return the varied settings of a configuration as one line."""
    return ", ".join(f"{key}={value}" for key, value in configuration.varied.items()) or "the only configuration"


def _find_baseline(found: Sequence[Configuration], baseline: Mapping[str, str]) -> int:
    for i, configuration in enumerate(found):
        if baseline.items() <= dict(configuration.varied).items():
            return i
    settings = ", ".join("=".join(item) for item in baseline.items())
    raise UserError(f"no configuration has {settings}: choose --baseline from {'; '.join(map(label, found))}")


def _values(configuration: Configuration) -> Values:
    """Return the values of the images that were measured with all seeds."""
    tables = [job.images for job in configuration.jobs]
    metrics = metrics_of(*(job.results for job in configuration.jobs))
    found: Values = {}
    for key in tables[0]:
        for metric in metrics:
            values = [value for table in tables if (value := table.get(key, {}).get(metric)) is not None]
            if len(values) == len(tables) and np.isfinite(values).all():
                found.setdefault((key[0], metric), {})[key[1]] = values
    return found


def _difference(first: Mapping[str, list[float]], second: Mapping[str, list[float]]) -> Difference:
    """Return the difference over the images of both configurations."""
    both = [image for image in first if image in second]
    return bootstrap_over_seeds(_by_seed(first, both), _by_seed(second, both))


def _by_seed(values: Mapping[str, list[float]], images: Sequence[str]) -> list[dict[str, list[float]]]:
    """Return for each seed the values of the images by group."""
    seeds: list[dict[str, list[float]]] = [{} for _ in values[images[0]]] if images else []
    for image in images:
        for seed, value in zip(seeds, values[image], strict=True):
            seed.setdefault(image.rpartition("/")[0] or image, []).append(value)
    return seeds


def _format_mean(info: MetricInfo, values: Sequence[Any]) -> str:
    measured = [value for value in values if value is not None]
    if not measured:
        return "-"
    mean = info.format(float(np.mean(measured)))
    return mean if len(measured) < 2 else f"{mean} ± {info.format(float(np.std(measured, ddof=1)))}"


def _format_difference(info: MetricInfo, difference: Difference | None) -> str:
    if difference is None:
        return "-"
    digits = info.digits_for(difference.high - difference.low)  # NaN for one group
    mean, low, high = (info.format(v, "+", digits=digits) for v in (difference.mean, difference.low, difference.high))
    return mean if difference.groups < 2 else f"{mean} ({low} .. {high})"
