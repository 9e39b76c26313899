"""Results as tables."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("set", "images", "", "PSNR (dB)", "SSIM")


def rows(results: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row for the blurred images of each set, one for the restored ones, one for the gain."""
    table: list[tuple[str, ...]] = []
    for name, scores in results["sets"].items():
        blurred = scores["psnr_blurred"], scores["ssim_blurred"]
        restored = scores["psnr"], scores["ssim"]
        table.append((name, str(scores["images"]), "blurred", _number(blurred[0], 2), _number(blurred[1], 4)))
        table.append(("", "", "restored", _number(restored[0], 2), _number(restored[1], 4)))
        gains = [None if None in pair else pair[1] - pair[0] for pair in zip(blurred, restored, strict=True)]
        table.append(("", "", "gain", _number(gains[0], 2, "+"), _number(gains[1], 4, "+")))
    return table


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
    }


def print_results(results: Mapping[str, Any]) -> None:
    """The scores of a run and what belongs to them, on the terminal."""
    console = Console()
    table = Table(*COLUMNS, title=results["name"])
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows(results):
        table.add_row(*row)
    console.print(table)
    for key, value in facts(results).items():
        if key != "run":
            console.print(f"{key}: {value}", style="dim", highlight=False)


def _number(value: float | None, digits: int, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{digits}f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
