"""Comparison of several evaluations and trainings in one table."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.metrics import gain_metric, metrics_of

Results = Mapping[str, Any]
MISSING = "not available"
"""Text of a cell whose metric is not available."""


def comparison(evaluations: Sequence[Results]) -> list[dict[str, str]]:
    """Return one row per evaluation or training and test set; all rows have the same columns."""
    rows, infos = [], metrics_of(*evaluations)
    gain = gain_metric(infos, *evaluations)
    labels = [_label(results) + _psf(results) for results in evaluations]
    for results in evaluations:
        unique = labels.count(_label(results) + _psf(results)) == 1
        for name, values in results["sets"].items():
            metrics = {m: i for m, i in infos.items() if m in values or m in results.get("unavailable", ())}
            rows.append(
                {
                    "restorer": _label(results) if unique else f"{_label(results)} ({results['name']})",
                    "psf": _psf(results),
                    "set": name,
                    "images": str(values["images"]),
                    **{i.heading: i.format(values[m]) if m in values else MISSING for m, i in metrics.items()},
                    **({} if gain is None else _gain(infos[gain], values.get(f"{gain}_blurred"), values.get(gain))),
                    "parameters": format_count(results.get("parameters")),
                    "MACs at 256x256": format_count(results.get("macs_256")),
                    "s/MP": _number(results.get("seconds_per_megapixel"), ".3g"),
                    "MiB": _number(results.get("peak_memory_mib"), ".0f"),
                    "notes": _notes(values),
                }
            )
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column, "-") for column in columns} for row in rows]


def table_notes(evaluations: Sequence[Results]) -> list[str]:
    """Return the notes below the table: protocols, unavailable metrics and failed images."""
    lines = []
    protocols: dict[str, list[str]] = {}
    for results in evaluations:
        protocols.setdefault(protocol_text(results), []).append(results["name"])
    for text, names in protocols.items():
        lines.append(f"protocol{'' if len(protocols) == 1 else ' of ' + ', '.join(names)}: {text}")
    metrics = metrics_of(*evaluations)
    for metric, why in {m: w for results in evaluations for m, w in results.get("unavailable", {}).items()}.items():
        lines.append(f"{metrics[metric].heading} {MISSING}: {why}")
    means = [values.get(m) for results in evaluations for values in results["sets"].values() for m in metrics]
    if math.inf in means:
        lines.append("inf: an image equals its reference, so that the mean of all images is infinite")
    for results in evaluations:
        failed = list(results.get("failed", {}).items())
        lines += [f"{results['name']}: {image} failed: {error}" for image, error in failed[:5]]
        lines += [f"{results['name']}: {len(failed) - 5} more failed (per_image.csv)"] if len(failed) > 5 else []
    return lines


def protocol_text(results: Results) -> str:
    """Return the protocol of an evaluation as one line."""
    return "; ".join(f"{key}: {value}" for key, value in results["protocol"].items())


def print_comparison(evaluations: Sequence[Results]) -> None:
    """Print the table of several evaluations and its notes."""
    rows = comparison(evaluations)
    empty = {column for column in rows[0] if all(row[column] in ("-", "") for row in rows)}
    table = Table(*(escape(column) for column in rows[0] if column not in empty))
    table.columns[0].overflow = "fold"
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(escape(value) for column, value in row.items() if column not in empty))
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(table)
    for line in table_notes(evaluations):
        console.print(line, style="dim", highlight=False, markup=False)


def _label(results: Results) -> str:
    if "settings" not in results:  # a training
        return " ".join([results["name"], *(results["options"][key] for key in ("model", "loss"))])
    restorer = results["options"].get("restorer", "?")
    path = results["settings"]["restorer"].get("path")
    return f"{restorer} {path}" if path and path != restorer else restorer


def _psf(results: Results) -> str:
    is_classical = "method" in results.get("settings", {}).get("restorer", ())
    return str(results["options"].get("psf", "-")) if is_classical else "-"


def _gain(info: MetricInfo, blurred: float | None, restored: float | None) -> dict[str, str]:
    """Return the column of the gain, "-" if a value is infinite or not measured."""
    return {f"gain ({info.unit or info.title})": info.format(info.gain(blurred, restored), "+")}


def _notes(values: Mapping[str, Any]) -> str:
    counts = {"failed": values.get("failed"), "returned unchanged": values.get("untouched")}
    return ", ".join(f"{count} {description}" for description, count in counts.items() if count)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def format_count(value: float | None) -> str:
    """Return a count with the prefix k, M or G, or "-" for None."""
    if value is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    return str(value)
