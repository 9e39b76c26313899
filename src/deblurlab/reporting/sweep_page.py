"""report.html of a sweep."""

import csv
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from deblurlab.metrics import LOWER_IS_BETTER
from deblurlab.reporting.ablation import Ablation, named, remarks, table
from deblurlab.reporting.comparison import TITLES
from deblurlab.reporting.page import Comparison, embedded_triptych, plot, render, svg
from deblurlab.reporting.sweep import Configuration
from deblurlab.runs.files import write_text

_POINTS = 400
"""Of a curve; more wouldn't be seen."""
_PICTURES = 6
_TRIALS = 4
"""More values of one setting are a search."""
_SHOWN = 12
"""Configurations in a chart; more couldn't be told from one another."""


def write_sweep(ablation: Ablation) -> Path:
    """Write the page into the sweep's folder: the table, a chart of the differences, curves with a band over seeds, and
    the same test pictures of every configuration, beside one another. Returns its path."""
    rows, notes, shown = table(ablation), remarks(ablation), _shown(ablation)
    if len(shown) < len(ablation.configurations):
        notes.append(f"differences, curves and pictures: the baseline and the best, {len(shown)} of {len(rows)}")
    page = render(
        "sweep.html.j2",
        title=f"Sweep {ablation.folder.name}",
        columns=list(rows[0]),
        rows=[tuple(row.values()) for row in rows],
        texts=len(ablation.configurations[0].varied),
        notes=notes,
        charts=_charts(ablation, shown),
        searches=_searches(ablation),
        curves=_curves(shown),
        pictures=_pictures(shown),
    )
    write_text(path := ablation.folder / "report.html", page)
    return path


def _shown(ablation: Ablation) -> list[Configuration]:
    """All configurations, or of many the baseline and those with the best scores; in their order."""
    name, metric = ablation.measured[0]
    sign = 1 if metric in LOWER_IS_BETTER else -1

    def place(configuration: Configuration) -> tuple[bool, float]:
        values = [job.results["sets"][name].get(metric) for job in configuration.jobs]
        known = [value for value in values if value is not None]
        baseline = configuration is ablation.configurations[ablation.baseline]
        return not baseline, sign * float(np.mean(known)) if known else np.inf

    chosen = sorted(ablation.configurations, key=place)[:_SHOWN]
    return [configuration for configuration in ablation.configurations if configuration in chosen]


def _charts(ablation: Ablation, shown: Sequence[Configuration]) -> list[str]:
    """Differences to the baseline with their intervals, a chart for each metric."""
    charts = []
    for key in ablation.measured:
        found = [
            (named(c), d[key])
            for c, d in zip(ablation.configurations, ablation.differences, strict=True)
            if key in d and c in shown
        ]
        if not found:
            continue
        figure, axes = plot(
            f"{TITLES[key[1]]}, {key[0]}: difference to {named(ablation.configurations[ablation.baseline])}"
        )
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
    """Parallel coordinates of a search over numbers: a line for each configuration, coloured by its score."""
    varied = {
        key: [_number(c.varied[key]) for c in ablation.configurations] for key in ablation.configurations[0].varied
    }
    axes_of = {key: np.array(values) for key, values in varied.items() if None not in values}
    if not any(len(np.unique(values)) > _TRIALS for values in axes_of.values()):
        return []
    found = []
    for name, metric in ablation.measured:
        values = [c.jobs[0].results["sets"][name].get(metric) for c in ablation.configurations]
        scores = np.array([np.nan if value is None else value for value in values])
        good = np.isfinite(scores)
        if not good.any():
            continue
        title = f"{TITLES[metric]}, {name}"
        found.append(
            svg(
                _parallel(
                    {**{key: v[good] for key, v in axes_of.items()}, title: scores[good]},
                    scores[good],
                    better=-1 if metric in LOWER_IS_BETTER else 1,
                )
            )
        )
    return found


def _parallel(columns: Mapping[str, np.ndarray], colours: np.ndarray, *, better: int) -> Figure:
    """A line through every column for each entry; the better are drawn over the worse."""
    figure, axes = plot("")
    shown = {key: np.log10(v) if v.min() > 0 and v.max() >= 100 * v.min() else v for key, v in columns.items()}
    spans = {key: (v.min(), np.ptp(v) or 1.0) for key, v in shown.items()}
    heights = np.stack([(v - spans[key][0]) / spans[key][1] for key, v in shown.items()])
    shades = colormaps["viridis"]((colours - colours.min()) / (np.ptp(colours) or 1.0) * 0.95)
    for i in np.argsort(better * colours):
        axes.plot(range(len(shown)), heights[:, i], color=shades[i], linewidth=1.2)
    for i, values in enumerate(columns.values()):
        axes.axvline(i, color="grey", linewidth=0.8)
        for height, value in ((0, values.min()), (1, values.max())):
            axes.annotate(f"{value:.4g}", (i, height), xytext=(4, 2), textcoords="offset points", fontsize=8)
    axes.set_xticks(range(len(columns)), list(columns), fontsize=8)
    axes.set_yticks([])
    return figure


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _curves(shown: Sequence[Configuration]) -> list[str]:
    """Validation scores by step: the mean over seeds, in a band from the least to the most."""
    curves = []
    for metric in TITLES:
        key, (figure, axes) = f"val/{metric}", plot(f"{TITLES[metric]}, validation")
        for configuration in shown:
            steps, values = _over_seeds(configuration, key)
            if steps:
                (line,) = axes.plot(steps, values.mean(axis=0), label=named(configuration), linewidth=1.2)
                axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.15)
        if axes.lines:
            axes.set_xlabel("step", fontsize=9)
            axes.legend(fontsize=8)
            curves.append(svg(figure))
    return curves


def _over_seeds(configuration: Configuration, key: str) -> tuple[list[int], np.ndarray]:
    """Steps that all seeds have logged, and `(seeds, steps)`."""
    series = [_series(job.run.metrics_file, key) for job in configuration.jobs]
    steps = sorted(set.intersection(*(set(one) for one in series))) if series else []
    steps = steps[:: max(1, len(steps) // _POINTS)]
    return steps, np.array([[one[step] for step in steps] for one in series])


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


def _pictures(configurations: Sequence[Configuration]) -> list[tuple[str, list[Comparison]]]:
    """Of each test picture that all configurations kept, the first seed's."""
    samples = [c.jobs[0].run.samples for c in configurations]
    shared = sorted(set.intersection(*({path.name for path in folder.glob("test_*.png")} for folder in samples)))
    found = []
    for name in islice(shared, _PICTURES):
        shown = [
            embedded_triptych(folder / name)._replace(name=named(c))
            for c, folder in zip(configurations, samples, strict=True)
        ]
        found.append((name.removeprefix("test_").removesuffix(".png"), shown))
    return found
