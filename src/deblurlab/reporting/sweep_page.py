"""HTML report of a sweep."""

import csv
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.ablation import Ablation, label, table, table_notes
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.page import create_plot, escape_dollars, marker, svg
from deblurlab.reporting.samples import Comparison, training_samples
from deblurlab.reporting.sweep import Configuration
from deblurlab.reporting.template import render
from deblurlab.runs.files import write_text

_MAX_POINTS = 400
"""Maximum number of points of a curve."""
_MAX_SAMPLES = 6
"""Maximum number of test images shown."""
_MAX_ABLATION_VALUES = 4
"""Maximum number of values of one numeric setting in an ablation; with more, the sweep is a search."""
_MAX_CONFIGURATIONS = 12
"""Maximum number of configurations in a plot."""


def write_sweep(ablation: Ablation) -> Path:
    """Write the page into the sweep's folder and return its path.

    It contains the table, a plot of the differences, curves with a band over seeds, and the same test images of every
    configuration side by side.
    """
    rows, notes, selected = table(ablation), table_notes(ablation), _select(ablation)
    if len(selected) < len(ablation.configurations):
        notes.append(f"differences, curves and images: the baseline and the best, {len(selected)} of {len(rows)}")
    page = render(
        "sweep.html.j2",
        title=f"Sweep {ablation.folder.name}",
        columns=list(rows[0]),
        rows=[tuple(row.values()) for row in rows],
        text_columns=len(ablation.configurations[0].varied),
        notes=notes,
        charts=_charts(ablation, selected),
        searches=_searches(ablation),
        curves=_curves(selected, ablation.metrics),
        samples=_samples(selected),
    )
    write_text(path := ablation.folder / "report.html", page)
    return path


def _select(ablation: Ablation) -> list[Configuration]:
    """Return the baseline and the configurations with the best metrics, at most `_MAX_CONFIGURATIONS`, in order."""
    name, metric = ablation.measured[0]
    sign = -1 if ablation.metrics[metric].higher_is_better else 1

    def rank(configuration: Configuration) -> tuple[bool, float]:
        values = [job.results["sets"][name].get(metric) for job in configuration.jobs]
        measured = [value for value in values if value is not None]
        is_baseline = configuration is ablation.configurations[ablation.baseline]
        return not is_baseline, sign * float(np.mean(measured)) if measured else np.inf

    selected = sorted(ablation.configurations, key=rank)[:_MAX_CONFIGURATIONS]
    return [configuration for configuration in ablation.configurations if configuration in selected]


def _charts(ablation: Ablation, selected: Sequence[Configuration]) -> list[str]:
    """Return a bar chart per metric of the differences from the baseline with their intervals."""
    charts = []
    for key in ablation.measured:
        found = [
            (label(c), d[key])
            for c, d in zip(ablation.configurations, ablation.differences, strict=True)
            if key in d and c in selected
        ]
        if not found:
            continue
        baseline = label(ablation.configurations[ablation.baseline])
        figure, axes = create_plot(f"{ablation.metrics[key[1]].heading}, {key[0]}: difference from {baseline}")
        means = np.array([difference.mean for _, difference in found])
        ends = np.array([[d.mean - d.low, d.high - d.mean] for _, d in found]).T
        axes.barh(
            [name for name, _ in found], means, xerr=None if np.isnan(ends).any() else ends, capsize=3, height=0.6
        )
        axes.axvline(0, color="grey", linewidth=0.8)
        axes.invert_yaxis()
        charts.append(svg(figure))
    return charts


def _searches(ablation: Ablation) -> list[str]:
    """Return a parallel coordinates plot per metric if the sweep is a search over numbers."""
    varied = {
        key: [_number(c.varied[key]) for c in ablation.configurations] for key in ablation.configurations[0].varied
    }
    axes_of = {key: np.array(values) for key, values in varied.items() if None not in values}
    if not any(len(np.unique(values)) > _MAX_ABLATION_VALUES for values in axes_of.values()):
        return []
    found = []
    for name, metric in ablation.measured:
        values = [c.jobs[0].results["sets"][name].get(metric) for c in ablation.configurations]
        measured = np.array([np.nan if value is None else value for value in values])
        valid = np.isfinite(measured)
        if not valid.any():
            continue
        title = f"{ablation.metrics[metric].heading}, {name}"
        found.append(
            svg(
                _parallel(
                    {**{key: v[valid] for key, v in axes_of.items()}, title: measured[valid]},
                    measured[valid],
                    better=1 if ablation.metrics[metric].higher_is_better else -1,
                )
            )
        )
    return found


def _parallel(columns: Mapping[str, np.ndarray], colours: np.ndarray, *, better: int) -> Figure:
    """Draw one line per configuration through all columns, coloured by the metric; better ones are on top."""
    figure, axes = create_plot("")
    scaled = {key: np.log10(v) if v.min() > 0 and v.max() >= 100 * v.min() else v for key, v in columns.items()}
    spans = {key: (v.min(), np.ptp(v) or 1.0) for key, v in scaled.items()}
    heights = np.stack([(v - spans[key][0]) / spans[key][1] for key, v in scaled.items()])
    shades = colormaps["viridis"]((colours - colours.min()) / (np.ptp(colours) or 1.0) * 0.95)
    for i in np.argsort(better * colours):
        axes.plot(range(len(scaled)), heights[:, i], color=shades[i], linewidth=1.2)
    for i, values in enumerate(columns.values()):
        axes.axvline(i, color="grey", linewidth=0.8)
        for height, value in ((0, values.min()), (1, values.max())):
            axes.annotate(f"{value:.4g}", (i, height), xytext=(4, 2), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(columns)), list(map(escape_dollars, columns)), fontsize=8)
    axes.set_yticks([])
    return figure


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _curves(selected: Sequence[Configuration], metrics: Mapping[str, MetricInfo]) -> list[str]:
    """Return plots of validation metrics by step: mean over seeds, with a band from minimum to maximum."""
    curves = []
    for metric, info in metrics.items():
        key, (figure, axes) = f"val/{metric}", create_plot(f"{info.heading}, validation")
        for configuration in selected:
            steps, values = _over_seeds(configuration, key)
            if steps:
                (line,) = axes.plot(
                    steps, values.mean(axis=0), label=label(configuration), marker=marker(steps), linewidth=1.2
                )
                axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15)
        if axes.lines:
            axes.set_xlabel("step", fontsize=9)
            axes.legend(fontsize=8)
            curves.append(svg(figure))
    return curves


def _over_seeds(configuration: Configuration, key: str) -> tuple[list[int], np.ndarray]:
    """Return the steps that all seeds have logged, and the values, `(seeds, steps)`."""
    series = [_series(job.run.metrics_file, key) for job in configuration.jobs]
    steps = sorted(set.intersection(*(set(values) for values in series))) if series else []
    steps = steps[:: max(1, len(steps) // _MAX_POINTS)]
    return steps, np.array([[values[step] for step in steps] for values in series])


def _series(metrics: Path, key: str) -> dict[int, float]:
    if not metrics.exists():
        return {}
    with metrics.open(newline="") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        if key not in names or "step" not in names:
            return {}
        step, value = names.index("step"), names.index(key)
        return {int(line[step]): float(line[value]) for line in lines if len(line) > value and line[value]}


def _samples(configurations: Sequence[Configuration]) -> list[list[Comparison]]:
    """Return the samples of each test image that all configurations have, from the runs of their first seeds."""
    jobs = [c.jobs[0] for c in configurations]
    names = [{path.name for path in job.run.samples.glob("test_*.png")} for job in jobs]
    shared = list(islice(sorted(set.intersection(*names)), _MAX_SAMPLES))
    found = [
        training_samples(job.run, metrics_of(job.results), label(c), only=shared)
        for c, job in zip(configurations, jobs, strict=True)
    ]
    return [[samples[name] for samples in found] for name in shared]
