"""HTML report of an evaluation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.comparison import table_notes
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.page import create_plot, escape_dollars, svg
from deblurlab.reporting.provenance import method, provenance
from deblurlab.reporting.samples import Row, evaluation_samples, read_rows
from deblurlab.reporting.template import render
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run

_RECIPE_COLUMNS = {"blur_length": "blur length (pixels)", "read_noise": "read noise (fraction of full scale)"}
"""Columns of per_image.csv that describe the synthetic degradation, and their axis titles."""


def write_evaluation(run: Run) -> None:
    """Write the report of a finished evaluation from the files in its folder.

    It contains the metrics, their distributions, the worst, the median and the best image of each set, and a sortable
    table of all images.
    """
    results = run.results()
    assert results is not None, "the evaluation has finished"
    images = read_rows(run)
    infos = metrics_of(results)
    measured = {n: info for n, info in infos.items() if any(n in values for values in results["sets"].values())}
    columns = list(images[0]) if images else []
    ranked = next((name for name in infos if f"{name}_blurred" in columns), None)
    page = render(
        "evaluation.html.j2",
        title=results["name"],
        columns=("set", "images", "", *(info.heading for info in measured.values())),
        rows=[row for name, values in results["sets"].items() for row in _rows(name, values, measured)],
        details={**_details(results), **provenance(run, results)},
        warnings=[f"{image} failed: {error}" for image, error in results["failed"].items()],
        comparisons=evaluation_samples(run, infos, method(results)),
        ranked_by=None if ranked is None else infos[ranked].title,
        plots=[] if ranked is None else _plots(images, ranked, infos[ranked]),
        image_columns=columns,
        image_rows=[[_cell(key, value, infos) for key, value in row.items()] for row in images],
        config=run.config_file.read_text(),
    )
    write_text(run.report_file, page)


def _rows(name: str, values: dict[str, Any], measured: Mapping[str, MetricInfo]) -> list[tuple[str, ...]]:
    """Return three rows of a set: metrics with standard errors of the blurred and restored images, and the gain."""
    errors = values["standard_error"]

    def cells(suffix: str) -> list[str]:
        found = [(info, values.get(m + suffix), errors.get(m + suffix)) for m, info in measured.items()]
        return [_with_error(*cell) for cell in found]

    gains = [info.gain(values.get(f"{m}_blurred"), values.get(m)) for m, info in measured.items()]
    gain = [info.format(value, "+") for info, value in zip(measured.values(), gains, strict=True)]
    count = str(values["images"])
    return [(name, count, "blurred", *cells("_blurred")), ("", "", "restored", *cells("")), ("", "", "gain", *gain)]


def _with_error(info: MetricInfo, value: float | None, error: float | None) -> str:
    digits = info.digits_for(error)
    text = info.format(value, digits=digits)
    return f"{text} ± {info.format(error, digits=digits)}" if error and value is not None else text


def _details(results: dict[str, Any]) -> dict[str, str]:
    details = {
        group: f"{results['options'].get(group)} {_settings_text(node)}" for group, node in results["settings"].items()
    }
    details["data"] = str(results["options"].get("data"))
    details |= {key: f"{results[key]:,}" for key in ("parameters", "macs_256") if key in results}
    details["seconds per megapixel"] = _short(str(results["seconds_per_megapixel"]))
    details["peak memory (MiB)"] = _short(str(results["peak_memory_mib"]))
    for line in table_notes([results]):
        key, _, text = line.partition(": ")
        details[key] = f"{details[key]}; {text}" if key in details else text
    return details


def _settings_text(node: Any) -> str:
    """Return settings as one line, without `_target_`."""
    if not isinstance(node, dict):
        return ""
    flat = {**node, **node.get("method", {})}
    return ", ".join(f"{k}={v}" for k, v in flat.items() if not k.startswith("_") and not isinstance(v, dict))


def _plots(images: Sequence[Row], metric: str, info: MetricInfo) -> list[str]:
    """Return plots of the gain in a metric by group of images, and against the parameters of the degradation."""
    keys = f"{metric}_blurred", metric
    good = [row for row in images if all(math.isfinite(float(row.get(key) or "nan")) for key in keys)]
    gains = [gain for row in good if (gain := info.gain(*(float(row[key]) for key in keys))) is not None]
    if not gains:
        return []
    groups: dict[str, list[float]] = {}
    for row, gain in zip(good, gains, strict=True):
        groups.setdefault(row["image"].rpartition("/")[0] or row["set"], []).append(gain)
    figures = []
    for part in [dict(list(groups.items())[i : i + 12]) for i in range(0, len(groups), 12)]:
        figure, axes = create_plot(f"Gain in {info.heading}")
        axes.boxplot(list(part.values()), tick_labels=list(map(escape_dollars, part)), orientation="horizontal")
        axes.axvline(0, color="grey", linewidth=0.8)
        figures.append(svg(figure))
    for key, title in _RECIPE_COLUMNS.items():
        points = [(float(row[key]), gain) for row, gain in zip(good, gains, strict=True) if row.get(key)]
        if len({x for x, _ in points}) > 1:
            figure, axes = create_plot(f"Gain in {info.heading} against {title}")
            axes.plot(*zip(*points, strict=True), ".")
            axes.axhline(0, color="grey", linewidth=0.8)
            axes.set_xlabel(title, fontsize=9)
            figures.append(svg(figure))
    return figures


def _cell(column: str, value: str, infos: Mapping[str, MetricInfo]) -> str:
    """Return a value of per_image.csv, with the decimals of its metric if it is one."""
    info = infos.get(column.removesuffix("_blurred"))
    return _short(value) if info is None or not value else info.format(float(value))


def _short(value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return value
    return f"{number:.4g}"
