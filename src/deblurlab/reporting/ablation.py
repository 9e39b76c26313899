"""The ablation table: one row for each configuration of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deblurlab.errors import UserError
from deblurlab.reporting.comparison import TITLES, large, score
from deblurlab.reporting.statistics import Difference, bootstrap_over_seeds
from deblurlab.reporting.sweep import Configuration, Job, configurations, read_jobs

Scores = dict[tuple[str, str], dict[str, list[float]]]
"""(set, metric) -> image -> its score with each seed."""


@dataclass(frozen=True)
class Ablation:
    """A sweep, read and compared."""

    folder: Path
    jobs: Sequence[Job]
    configurations: Sequence[Configuration]
    baseline: int
    """The configuration that the others are compared with."""
    differences: Sequence[Mapping[tuple[str, str], Difference]]
    """Of each configuration to the baseline, by (set, metric); empty for the baseline itself."""

    @property
    def measured(self) -> list[tuple[str, str]]:
        """(set, metric) of what was measured."""
        sets = self.configurations[0].jobs[0].results["sets"]
        return [(name, metric) for name, scores in sets.items() for metric in TITLES if metric in scores]


def read_ablation(folder: Path, baseline: Mapping[str, str]) -> Ablation:
    """Read a sweep's folder. `baseline` are the varied settings of the configuration to compare with; nothing takes the
    one that began first.

    Raises:
        UserError: Nothing has finished, the jobs can't be compared, or the baseline isn't one of them.
    """
    jobs = read_jobs(folder)
    found = configurations(jobs)
    number = _baseline(found, baseline)
    reference = _scores(found[number])
    differences: list[dict[tuple[str, str], Difference]] = []
    for i, configuration in enumerate(found):
        scores = {} if i == number else _scores(configuration)
        differences.append({key: _difference(reference[key], of) for key, of in scores.items() if key in reference})
    return Ablation(folder, jobs, found, number, differences)


def table(ablation: Ablation) -> list[dict[str, str]]:
    """One row for each configuration: what it varies, its scores over seeds, and their difference to the baseline's."""
    several = len({name for name, _ in ablation.measured}) > 1
    rows = []
    for i, configuration in enumerate(ablation.configurations):
        row = {**configuration.varied, "seeds": str(len(configuration.jobs))}
        for name, metric in ablation.measured:
            title = f"{TITLES[metric]}, {name}" if several else TITLES[metric]
            row[title] = _mean(metric, [job.results["sets"][name].get(metric) for job in configuration.jobs])
            difference = ablation.differences[i].get((name, metric))
            row[f"difference in {title}"] = "baseline" if i == ablation.baseline else _shown(metric, difference)
        results = [job.results for job in configuration.jobs]
        row["parameters"] = large(results[0]["parameters"])
        row["hours"] = f"{np.mean([result['seconds'] for result in results]) / 3600:.2f}"
        rows.append(row)
    return rows


def remarks(ablation: Ablation) -> list[str]:
    """What a reader must know beside the table."""
    protocol = ablation.configurations[0].jobs[0].results["protocol"]
    base = named(ablation.configurations[ablation.baseline])
    lines = [
        f"baseline: {base}; mean ± standard deviation over seeds; differences with 95 % intervals, photographs and "
        f"seeds drawn with replacement",
        "protocol: " + "; ".join(f"{key}: {value}" for key, value in protocol.items()),
    ]
    return lines + [f"{job.run.folder} {job.state}: {job.about}" for job in ablation.jobs if job.state != "finished"]


def named(configuration: Configuration) -> str:
    """What a configuration varies, in a line."""
    return ", ".join(f"{key}={value}" for key, value in configuration.varied.items()) or "the only configuration"


def _baseline(found: Sequence[Configuration], wanted: Mapping[str, str]) -> int:
    for i, configuration in enumerate(found):
        if wanted.items() <= dict(configuration.varied).items():
            return i
    listed = "; ".join(map(named, found))
    raise UserError(f"no configuration has {', '.join('='.join(item) for item in wanted.items())}: there are {listed}")


def _scores(configuration: Configuration) -> Scores:
    """Of images that were measured with all seeds."""
    tables = [job.images for job in configuration.jobs]
    found: Scores = {}
    for key in tables[0]:
        for metric in TITLES:
            values = [value for table in tables if (value := table.get(key, {}).get(metric)) is not None]
            if len(values) == len(tables) and np.isfinite(values).all():
                found.setdefault((key[0], metric), {})[key[1]] = values
    return found


def _difference(first: Mapping[str, list[float]], second: Mapping[str, list[float]]) -> Difference:
    """Over the images that both have."""
    both = [image for image in first if image in second]
    return bootstrap_over_seeds(_by_seed(first, both), _by_seed(second, both))


def _by_seed(scores: Mapping[str, list[float]], images: Sequence[str]) -> list[dict[str, list[float]]]:
    """For each seed {group: scores of its images}."""
    seeds: list[dict[str, list[float]]] = [{} for _ in scores[images[0]]] if images else []
    for image in images:
        for seed, value in zip(seeds, scores[image], strict=True):
            seed.setdefault(image.rpartition("/")[0] or image, []).append(value)
    return seeds


def _mean(metric: str, values: Sequence[Any]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean = score(metric, float(np.mean(known)))
    return mean if len(known) < 2 else f"{mean} ± {score(metric, float(np.std(known, ddof=1)))}"


def _shown(metric: str, difference: Difference | None) -> str:
    if difference is None:
        return "-"
    mean = score(metric, difference.mean, "+")
    if difference.groups < 2:
        return mean
    return f"{mean} ({score(metric, difference.low, '+')} .. {score(metric, difference.high, '+')})"
