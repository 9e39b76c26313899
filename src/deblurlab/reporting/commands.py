"""`deblurlab report ...`"""

import csv
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deblurlab.errors import UserError
from deblurlab.reporting import statistics
from deblurlab.reporting.comparison import TITLES, comparison, in_words, print_comparison, remarks
from deblurlab.runs import Run, write_text

Rows = Sequence[dict[str, str]]


def table(folders: Sequence[Path], form: str, output: Path | None) -> None:
    """Print, or write, one table of several finished evaluations.

    Raises:
        UserError: A folder holds no finished evaluation.
    """
    finished = [_results(folder) for folder in folders]
    if form == "terminal" and output is None:
        print_comparison(finished)
        return
    rows, notes = comparison(finished), remarks(finished)
    if form == "csv":  # has no place for notes
        protocols = [in_words(results) for results in finished for _ in results["sets"]]
        rows = [{**row, "protocol": protocol} for row, protocol in zip(rows, protocols, strict=True)]
    writers = {"terminal": _markdown, "markdown": _markdown, "latex": _latex, "csv": _csv, "html": _html}
    text = writers[form](rows, notes)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
        print(output)


def compare(first: Path, second: Path) -> None:
    """Print by how much the second evaluation is above the first, and whether that is more than chance.

    Raises:
        UserError: They can't be compared.
    """
    shown = Table("set", "metric", "difference", "standard error", "95 % interval", "images", "groups", "")
    for name, metrics in statistics.compare(first, second).items():
        for metric, d in metrics.items():
            alone = d.groups == 1
            verdict = "images of one group: no interval" if alone else "real" if d.real else "may be chance"
            interval = "-" if alone else f"{d.low:+.4f} .. {d.high:+.4f}"
            error = "-" if alone else f"{d.standard_error:.4f}"
            cells = f"{d.mean:+.4f}", error, interval, str(d.images), str(d.groups), verdict
            shown.add_row(name, TITLES.get(metric, metric), *cells)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(shown)
    console.print("Groups are drawn as wholes; with fewer than ten of them the interval is too narrow.", style="dim")


def _results(folder: Path) -> dict[str, Any]:
    results = Run(folder).results()
    if results is None or "settings" not in results:
        raise UserError(f"{folder} holds no finished evaluation")
    return results


def _markdown(rows: Rows, notes: Sequence[str]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells) + "\n" + "".join(f"{note}\n" for note in notes)


def _latex(rows: Rows, notes: Sequence[str]) -> str:
    def line(cells: Sequence[str]) -> str:
        special = {c: f"\\{c}" for c in "&%$#_{}"} | {
            "^": r"\textasciicircum{}",
            "\\": r"\textbackslash{}",
            "~": r"\textasciitilde{}",
        }
        return " & ".join("".join(special.get(c, c) for c in cell) for cell in cells) + r" \\" + "\n"

    body = "".join(line(list(row.values())) for row in rows)
    comments = "".join(f"% {note}\n" for note in notes)
    columns = "lll" + "r" * (len(rows[0]) - 3)
    return (
        comments + f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n" + line(list(rows[0])) + "\\midrule\n" + body
        + "\\bottomrule\n\\end{tabular}\n"
    )  # fmt: skip


def _csv(rows: Rows, notes: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _html(rows: Rows, notes: Sequence[str]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>\n"

    body = "".join(line(list(row.values()), "td") for row in rows)
    said = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    return f"<table>\n{line(list(rows[0]), 'th')}{body}</table>\n{said}"
