"""Several restorers in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

Results = Mapping[str, Any]
TITLES = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "ssim_matlab_rgb": "SSIM (MATLAB, RGB)",
    "psnr_y": "PSNR Y (dB)",
    "ssim_y": "SSIM Y",
    "lpips_alex": "LPIPS (alex)",
    "lpips_vgg": "LPIPS (vgg)",
    "dists": "DISTS",
    "sharpness": "sharpness",
    "kid": "KID",
}
"""In the order of a table's columns."""
MISSING = "not available"


def comparison(finished: Sequence[Results]) -> list[dict[str, str]]:
    """One row for each restorer and test set; rows have the same columns."""
    rows = []
    labels = [_label(results) + _kernel(results) for results in finished]
    for results in finished:
        alone = labels.count(_label(results) + _kernel(results)) == 1
        for name, scores in results["sets"].items():
            metrics = [m for m in TITLES if m in scores or m in results["unavailable"]]
            rows.append(
                {
                    "restorer": _label(results) if alone else f"{_label(results)} ({results['name']})",
                    "psf": _kernel(results),
                    "set": name,
                    "images": str(scores["images"]),
                    **{TITLES[m]: score(m, scores[m]) if m in scores else MISSING for m in metrics},
                    "gain (dB)": _gain(scores),
                    "parameters": large(results.get("parameters")),
                    "MACs at 256x256": large(results.get("macs_256")),
                    "s/MP": _number(results["seconds_per_megapixel"], ".3g"),
                    "MiB": _number(results["peak_memory_mib"], ".0f"),
                    "notes": _notes(scores),
                }
            )
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return [{column: row.get(column, "-") for column in columns} for row in rows]


def remarks(finished: Sequence[Results]) -> list[str]:
    """What a reader must know beside the numbers: protocols, and what couldn't be measured or restored."""
    lines = []
    protocols: dict[str, list[str]] = {}
    for results in finished:
        protocols.setdefault(in_words(results), []).append(results["name"])
    for text, names in protocols.items():
        lines.append(f"protocol{'' if len(protocols) == 1 else ' of ' + ', '.join(names)}: {text}")
    for metric, why in {m: w for results in finished for m, w in results["unavailable"].items()}.items():
        lines.append(f"{TITLES[metric]} {MISSING}: {why}")
    for results in finished:
        failed = list(results["failed"].items())
        lines += [f"{results['name']}: {image} failed: {error}" for image, error in failed[:5]]
        lines += [f"{results['name']}: {len(failed) - 5} more failed (per_image.csv)"] if len(failed) > 5 else []
    return lines


def in_words(results: Results) -> str:
    """The protocol of an evaluation, in a line."""
    return "; ".join(f"{key}: {value}" for key, value in results["protocol"].items())


def print_comparison(finished: Sequence[Results]) -> None:
    """The table, on the terminal."""
    rows = comparison(finished)
    empty = {column for column in rows[0] if all(row[column] in ("-", "") for row in rows)}
    table = Table(*(column for column in rows[0] if column not in empty))
    table.columns[0].overflow = "fold"
    for column in table.columns[3:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*(escape(value) for column, value in row.items() if column not in empty))
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(table)
    for line in remarks(finished):
        console.print(line, style="dim", highlight=False, markup=False)


def _label(results: Results) -> str:
    restorer = results["options"].get("restorer", "?")
    path = results["settings"]["restorer"].get("path")
    return f"{restorer} {path}" if path and path != restorer else restorer


def _kernel(results: Results) -> str:
    method = "method" in results["settings"]["restorer"]
    return str(results["options"].get("psf", "-")) if method else "-"


def score(metric: str, value: float | None, sign: str = "") -> str:
    """A metric's value, with as many digits as mean something."""
    digits = {"psnr": ".2f", "psnr_y": ".2f", "sharpness": ".1f"}.get(metric, ".4f")
    return _number(value, sign + digits)


def _gain(scores: Mapping[str, Any]) -> str:
    if scores.get("psnr") is None or scores.get("psnr_blurred") is None:
        return "-"  # infinite, or not measured
    return f"{scores['psnr'] - scores['psnr_blurred']:+.2f}"


def _notes(scores: Mapping[str, Any]) -> str:
    counts = {"failed": scores["failed"], "left as they are": scores["untouched"]}
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def large(value: float | None) -> str:
    """A count, with its unit."""
    if value is None:
        return "-"
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    return str(value)
