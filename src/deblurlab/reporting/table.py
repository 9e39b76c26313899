"""Table of the results of one training run."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.metrics import metrics_of


def columns(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the column titles."""
    return ("set", "images", "", *(info.heading for info in _measured(results).values()))


def rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return three rows per set: metrics of the blurred images, of the restored images, and the gain.

    A gain is positive if the restored images are better.
    """
    table: list[tuple[str, ...]] = []
    metrics = _measured(results)
    for name, values in results["sets"].items():
        blurred, restored = ([values.get(metric + suffix) for metric in metrics] for suffix in ("_blurred", ""))
        gains = [info.gain(*pair) for info, *pair in zip(metrics.values(), blurred, restored, strict=True)]
        for kind, row, sign in (("blurred", blurred, ""), ("restored", restored, ""), ("gain", gains, "+")):
            cells = [info.format(value, sign) for info, value in zip(metrics.values(), row, strict=True)]
            table.append((*((name, str(values["images"])) if kind == "blurred" else ("", "")), kind, *cells))
    return table


def _measured(results: Mapping[str, Any]) -> dict[str, MetricInfo]:
    """Return the metrics that were measured on at least one set."""
    sets = results["sets"].values()
    return {name: info for name, info in metrics_of(results).items() if any(name in values for values in sets)}


def details(results: Mapping[str, Any]) -> dict[str, str]:
    """Return the settings, costs and protocol that belong to the results."""
    options, metrics = results["options"], metrics_of(results)
    return {
        "run": results["name"],
        **{group: str(options[group]) for group in ("model", "loss", "data") if options.get(group)},
        **results["decided"],
        "parameters": f"{results['parameters'] / 1e6:.2f} M",
        "MACs at 256x256": f"{results['macs_256'] / 1e9:.2f} G",
        "steps": f"{results['steps']:,}",
        "training time": _duration(results["seconds"]),
        "seed": str(results["seed"]),
        "protocol": "; ".join(f"{key}: {value}" for key, value in results["protocol"].items()),
        **{f"{metrics[name].title} not available": why for name, why in results["unavailable"].items()},
    }


def print_results(results: Mapping[str, Any]) -> None:
    """Print the metrics of a run and their details."""
    console = Console()
    table = Table(*map(escape, columns(results)), title=escape(results["name"]))
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows(results):
        table.add_row(*map(escape, row))
    console.print(table)
    for key, value in details(results).items():
        if key != "run":
            console.print(f"{key}: {value}", style="dim", highlight=False, markup=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
