"""report.html: one file that opens without a network."""

import base64
import csv
import io
from pathlib import Path
from typing import NamedTuple

import jinja2
from matplotlib.figure import Figure
from PIL import Image

from deblurlab.reporting.table import COLUMNS, facts, rows
from deblurlab.runs import Run, write_text

_CURVES = (
    ("PSNR on validation (dB)", ("val/psnr", "val/psnr_blurred")),
    ("SSIM on validation", ("val/ssim", "val/ssim_blurred")),
    ("Loss terms while training, unweighted", ("loss/",)),
    ("Loss terms on validation, unweighted", ("val/loss/",)),
    ("Learning rate", ("lr/",)),
)
"""Title and the series' names, or what they begin with if that ends in a slash."""


class _Comparison(NamedTuple):
    name: str
    blurred: str
    restored: str
    sharp: str


def write_report(run: Run) -> None:
    """Make a finished run's report from the files in its folder: results, curves, before and after with a slider."""
    results = run.results()
    assert results is not None, "a report is made of results"
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("deblurlab.reporting", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html.j2")
    page = template.render(
        title=results["name"],
        columns=COLUMNS,
        rows=rows(results),
        facts=facts(results),
        warnings=[f"{key}: {value}" for key, value in results["decided"].items() if value == "random"],
        comparisons=[_comparison(path) for path in sorted(run.samples.glob("test_*.png"))],
        curves=_curves(run.metrics_file),
        config=run.config_file.read_text(),
    )
    write_text(run.report_file, page)


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


def _plot(title: str, series: dict[str, list[tuple[int, float]]]) -> str:
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 30 else None, linewidth=1.2)
    values = [value for points in series.values() for _, value in points]
    if min(values) > 0 and max(values) > 20 * min(values):  # small terms would lie flat below large ones
        axes.set_yscale("log")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _comparison(path: Path) -> _Comparison:
    """The three parts of a sample picture."""
    with Image.open(path) as picture:
        width = picture.width // 3
        parts = [_embedded(picture.crop((i * width, 0, (i + 1) * width, picture.height))) for i in range(3)]
    return _Comparison(path.stem.removeprefix("test_"), *parts)


def _embedded(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
