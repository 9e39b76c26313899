"""HTML report of a training run: one file that loads nothing from the network."""

import csv
import io
from collections.abc import Mapping, Sized
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.history import histories
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.provenance import provenance
from deblurlab.reporting.samples import training_samples
from deblurlab.reporting.table import columns, details, rows
from deblurlab.reporting.template import render
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run

_CURVES = (
    ("Loss terms in training, unweighted", "loss/"),
    ("Loss terms in validation, unweighted", "val/loss/"),
    ("Learning rate", "lr/"),
    ("Gradient norm before clipping", "gradient/"),
)
"""Title of a plot and the prefix of the logged names of its series."""
_NO_CURVES = {"step", "epoch", "trainer/global_step"}


def write_report(run: Run) -> None:
    """Write the report of a finished run from the files in its folder: results, curves and sample images."""
    results = run.results()
    assert results is not None, "the run has finished"
    metrics = metrics_of(results)
    page = render(
        "report.html.j2",
        title=results["name"],
        columns=columns(results),
        rows=rows(results),
        details={**details(results), **provenance(run, results)},
        warnings=[f"{key}: {value}" for key, value in results["decided"].items() if value == "random"],
        comparisons=list(training_samples(run, metrics, results["name"]).values()),
        histories=histories(run),
        curves=_curves(run.metrics_file, metrics),
        config=run.config_file.read_text(),
    )
    write_text(run.report_file, page)


def _curves(file: Path, metrics: Mapping[str, MetricInfo]) -> list[str]:
    """Return one SVG for each metric, for each group of series, and for each other series that the run has logged."""
    if not file.exists():
        return []
    with file.open(newline="") as text:
        logged = list(csv.DictReader(text))
    names = list(logged[0]) if logged else []
    groups = {f"{info.heading}, validation": [f"val/{m}", f"val/{m}_blurred"] for m, info in metrics.items()}
    groups |= {title: [name for name in names if name.startswith(prefix)] for title, prefix in _CURVES}
    grouped = {name for selected in groups.values() for name in selected} | _NO_CURVES
    groups |= {name: [name] for name in names if name not in grouped}
    figures = []
    for title, selected in groups.items():
        selected = [name for name in selected if name in names]
        series = {n: [(int(row["step"]), float(row[n])) for row in logged if row[n]] for n in selected}
        if any(series.values()):
            figures.append(_plot_series(title, series))
    return figures


def create_plot(title: str) -> tuple[Figure, Axes]:
    """Create a figure of the report's size and its axes."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set_title(escape_dollars(title), fontsize=10)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    return figure, axes


def escape_dollars(text: str) -> str:
    """Escape dollar signs, which start a formula in matplotlib."""
    return text.replace("$", r"\$")


def svg(figure: Figure) -> str:
    """Return a figure as an SVG element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def marker(points: Sized) -> str | None:
    """Return the marker of a curve: few points would be hard to see, a single one invisible."""
    return "." if len(points) < 30 else None


def _plot_series(title: str, series: dict[str, list[tuple[int, float]]]) -> str:
    figure, axes = create_plot(title)
    for name, points in series.items():
        axes.plot(
            *zip(*points, strict=True),
            label=escape_dollars(name),
            marker=marker(points),
            linewidth=1.2,
        )
    values = [value for points in series.values() for _, value in points]
    if min(values) > 0 and max(values) > 20 * min(values):  # on a linear axis small terms would be flat
        axes.set_yscale("log")
    axes.set_xlabel("step", fontsize=9)
    axes.legend(fontsize=8)
    return svg(figure)
