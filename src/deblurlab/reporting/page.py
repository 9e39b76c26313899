"""report.html: one file that opens without a network."""

import base64
import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from deblurlab.reporting.comparison import TITLES
from deblurlab.reporting.table import columns, facts, rows
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run

_CURVES = (
    *((f"{title}, validation", (f"val/{metric}", f"val/{metric}_blurred")) for metric, title in TITLES.items()),
    ("Loss terms while training, unweighted", ("loss/",)),
    ("Loss terms on validation, unweighted", ("val/loss/",)),
    ("Learning rate", ("lr/",)),
    ("Norm of the gradient, before clipping", ("gradient/",)),
)
"""Title and the series' names, or what they begin with if that ends in a slash."""


class Comparison(NamedTuple):
    name: str
    blurred: str
    restored: str
    sharp: str
    residual: str | None


def write_report(run: Run) -> None:
    """Make a finished run's report from the files in its folder: results, curves, before and after with a slider."""
    results = run.results()
    assert results is not None, "a report is made of results"
    page = render(
        "report.html.j2",
        title=results["name"],
        columns=columns(results),
        rows=rows(results),
        facts=facts(results),
        warnings=[f"{key}: {value}" for key, value in results["decided"].items() if value == "random"],
        comparisons=[embedded_triptych(path) for path in sorted(run.samples.glob("test_*.png"))],
        curves=_curves(run.metrics_file),
        config=run.config_file.read_text(),
    )
    write_text(run.report_file, page)


def render(template: str, **what: Any) -> str:
    """A page from one of the templates beside this file."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deblurlab.reporting", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**what)


def _curves(metrics: Path) -> list[str]:
    """One SVG for each group of series that the run has logged."""
    if not metrics.exists():
        return []
    with metrics.open(newline="") as file:
        logged = list(csv.DictReader(file))
    names = list(logged[0]) if logged else []
    pictures = []
    for title, wanted in _CURVES:
        chosen = [n for n in names if n in wanted or any(w.endswith("/") and n.startswith(w) for w in wanted)]
        series = {n: [(int(row["step"]), float(row[n])) for row in logged if row[n]] for n in chosen}
        if any(series.values()):
            pictures.append(_plot(title, series))
    return pictures


def plot(title: str) -> tuple[Figure, Axes]:
    """A figure of the report's size, and its axes."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set_title(literal(title), fontsize=10)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    return figure, axes


def literal(text: str) -> str:
    """A text as matplotlib must be given it, for which dollars begin a formula."""
    return text.replace("$", r"\$")


def svg(figure: Figure) -> str:
    """A figure as an SVG element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _plot(title: str, series: dict[str, list[tuple[int, float]]]) -> str:
    figure, axes = plot(title)
    for name, points in series.items():
        axes.plot(
            *zip(*points, strict=True), label=literal(name), marker="." if len(points) < 30 else None, linewidth=1.2
        )
    values = [value for points in series.values() for _, value in points]
    if min(values) > 0 and max(values) > 20 * min(values):  # small terms would lie flat below large ones
        axes.set_yscale("log")
    axes.set_xlabel("step", fontsize=9)
    axes.legend(fontsize=8)
    return svg(figure)


def embedded_triptych(path: Path, *, residual: bool = False) -> Comparison:
    """The parts of a sample picture, `blurred | restored | sharp`, as data addresses; with `residual` also four times
    the difference of the last two."""
    with Image.open(path, formats=["PNG"]) as picture:
        width = picture.width // 3
        parts = [picture.crop((i * width, 0, (i + 1) * width, picture.height)) for i in range(3)]
    difference = None
    if residual:
        restored, sharp = (np.asarray(part, np.int16) for part in parts[1:])
        difference = Image.fromarray(np.clip(128 + 4 * (restored - sharp), 0, 255).astype(np.uint8))
    blurred, restored_one, sharp_one = map(_embedded, parts)
    name = path.stem.removeprefix("test_")
    residual_map = None if difference is None else _embedded(difference)
    return Comparison(name, blurred, restored_one, sharp_one, residual_map)


def _embedded(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
