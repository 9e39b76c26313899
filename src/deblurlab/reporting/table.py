"""Results as tables."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deblurlab.reporting.comparison import TITLES, score


def columns(results: Mapping[str, Any]) -> tuple[str, ...]:
    """The titles of a table of results."""
    return ("set", "images", "", *(TITLES[metric] for metric in _metrics(results)))


def rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row for the blurred images of each set, one for the restored ones, one for the difference."""
    table: list[tuple[str, ...]] = []
    metrics = _metrics(results)
    for name, scores in results["sets"].items():
        blurred, restored = ([scores.get(metric + end) for metric in metrics] for end in ("_blurred", ""))
        gains = [None if None in pair else pair[1] - pair[0] for pair in zip(blurred, restored, strict=True)]
        for what, values, sign in (("blurred", blurred, ""), ("restored", restored, ""), ("gain", gains, "+")):
            cells = [score(metric, value, sign) for metric, value in zip(metrics, values, strict=True)]
            table.append((*((name, str(scores["images"])) if what == "blurred" else ("", "")), what, *cells))
    return table


def _metrics(results: Mapping[str, Any]) -> list[str]:
    """What some set was measured by."""
    return [metric for metric in TITLES if any(metric in scores for scores in results["sets"].values())]


def facts(results: Mapping[str, Any]) -> dict[str, str]:
    """What a reader must know beside the scores."""
    options = results["options"]
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
        **{f"no {TITLES[metric]}": why for metric, why in results["unavailable"].items()},
    }


def print_results(results: Mapping[str, Any]) -> None:
    """The scores of a run and what belongs to them, on the terminal."""
    console = Console()
    table = Table(*columns(results), title=escape(results["name"]))
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows(results):
        table.add_row(*map(escape, row))
    console.print(table)
    for key, value in facts(results).items():
        if key != "run":
            console.print(f"{key}: {value}", style="dim", highlight=False, markup=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
