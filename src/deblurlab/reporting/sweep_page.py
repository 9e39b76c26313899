"""report.html of a sweep."""

import csv
from itertools import islice
from pathlib import Path

import numpy as np

from deblurlab.reporting.ablation import Ablation, named, remarks, table
from deblurlab.reporting.comparison import TITLES
from deblurlab.reporting.page import Comparison, embedded_triptych, plot, render, svg
from deblurlab.reporting.sweep import Configuration
from deblurlab.runs import write_text

_POINTS = 400
"""Of a curve; more wouldn't be seen."""
_PICTURES = 6


def write_sweep(ablation: Ablation) -> Path:
    """Write the page into the sweep's folder: the table, a chart of the differences, curves with a band over seeds, and
    the same test pictures of every configuration, beside one another. Returns its path."""
    rows = table(ablation)
    page = render(
        "sweep.html.j2",
        title=f"Sweep {ablation.folder.name}",
        columns=list(rows[0]),
        rows=[tuple(row.values()) for row in rows],
        texts=len(ablation.configurations[0].varied),
        notes=remarks(ablation),
        charts=_charts(ablation),
        curves=_curves(ablation),
        pictures=_pictures(ablation),
    )
    write_text(path := ablation.folder / "report.html", page)
    return path


def _charts(ablation: Ablation) -> list[str]:
    """Differences to the baseline with their intervals, a chart for each metric."""
    charts = []
    for key in ablation.measured:
        found = [
            (named(c), d[key]) for c, d in zip(ablation.configurations, ablation.differences, strict=True) if key in d
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


def _curves(ablation: Ablation) -> list[str]:
    """Validation scores by step: the mean over seeds, in a band from the least to the most."""
    curves = []
    for metric in TITLES:
        key, (figure, axes) = f"val/{metric}", plot(f"{TITLES[metric]}, validation")
        for configuration in ablation.configurations:
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


def _pictures(ablation: Ablation) -> list[tuple[str, list[Comparison]]]:
    """Of each test picture that all configurations kept, the first seed's."""
    samples = [c.jobs[0].run.samples for c in ablation.configurations]
    shared = sorted(set.intersection(*({path.name for path in folder.glob("test_*.png")} for folder in samples)))
    found = []
    for name in islice(shared, _PICTURES):
        shown = [
            embedded_triptych(folder / name)._replace(name=named(c))
            for c, folder in zip(ablation.configurations, samples, strict=True)
        ]
        found.append((name.removeprefix("test_").removesuffix(".png"), shown))
    return found
