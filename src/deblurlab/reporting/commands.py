"""`deblurlab report ...`"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from rich import markup
from rich.console import Console
from rich.table import Column, Table

from deblurlab.errors import UserError
from deblurlab.reporting import statistics
from deblurlab.reporting.ablation import read_ablation
from deblurlab.reporting.ablation import remarks as ablation_remarks
from deblurlab.reporting.ablation import table as ablation_table
from deblurlab.reporting.comparison import TITLES, comparison, in_words, print_comparison, remarks
from deblurlab.reporting.sweep import read_jobs
from deblurlab.reporting.sweep_page import write_sweep
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run

Rows = Sequence[dict[str, str]]
Writer = Callable[[Rows, Sequence[str]], str]


def table(folders: Sequence[Path], form: str, output: Path | None) -> None:
    """Print, or write, one table of several finished evaluations.

    Raises:
        UserError: A folder holds no finished evaluation.
    """
    finished = [_results(folder) for folder in folders]
    if form == "terminal" and output is None:
        print_comparison(finished)
        return
    rows = comparison(finished)
    if form == "csv":  # has no place for notes
        protocols = [in_words(results) for results in finished for _ in results["sets"]]
        rows = [{**row, "protocol": protocol} for row, protocol in zip(rows, protocols, strict=True)]
    _write(rows, remarks(finished), form, output, texts=3)


def sweep(folder: Path, form: str, output: Path | None, baseline: Sequence[str]) -> None:
    """Print, or write, the table of a sweep's configurations; its page is written into its folder.

    Raises:
        UserError: Nothing can be compared.
    """
    if wrong := [word for word in baseline if "=" not in word]:
        raise UserError(f"--baseline {wrong[0]}: settings are key=value")
    ablation = read_ablation(folder, dict(word.partition("=")[::2] for word in baseline))
    rows, notes = ablation_table(ablation), ablation_remarks(ablation)
    texts = len(ablation.configurations[0].varied)
    if form == "terminal" and output is None:
        shown = Table(*(Column(title, justify="left" if i < texts else "right") for i, title in enumerate(rows[0])))
        for row in rows:
            shown.add_row(*map(markup.escape, row.values()))
        console = Console()
        console = console if console.is_terminal else Console(width=160)
        console.print(shown)
        for note in notes:
            console.print(note, style="dim", highlight=False, markup=False)
        print(write_sweep(ablation))
        return
    _write(rows, notes, form, output, texts=texts)


def watch(folder: Path, baseline: Sequence[str], *, every: float = 30.0) -> None:
    """Print the table of a sweep that is running, again and again until interrupted."""
    console = Console()
    while True:
        console.clear()
        try:
            sweep(folder, "terminal", None, baseline)
        except UserError as error:  # nothing has finished yet
            console.print(str(error), markup=False)
            for job in read_jobs(folder) if folder.is_dir() else []:
                console.print(f"{job.run.folder} {job.state}: {job.about}", style="dim", highlight=False, markup=False)
        time.sleep(every)


def _write(rows: Rows, notes: Sequence[str], form: str, output: Path | None, *, texts: int) -> None:
    """In a form for a file; to the terminal if none is named. The first `texts` columns hold no numbers."""
    latex = partial(_latex, texts=texts)
    writers: dict[str, Writer] = {
        "terminal": _markdown,
        "markdown": _markdown,
        "latex": latex,
        "csv": _csv,
        "html": _html,
    }
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
            shown.add_row(markup.escape(name), TITLES.get(metric, metric), *cells)
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


def _latex(rows: Rows, notes: Sequence[str], *, texts: int) -> str:
    def line(cells: Sequence[str]) -> str:
        special = {c: f"\\{c}" for c in "&%$#_{}"} | {
            "^": r"\textasciicircum{}",
            "\\": r"\textbackslash{}",
            "~": r"\textasciitilde{}",
            "±": r"$\pm$",
        }
        return " & ".join("".join(special.get(c, c) for c in cell) for cell in cells) + r" \\" + "\n"

    body = "".join(line(list(row.values())) for row in rows)
    comments = "".join(f"% {' '.join(note.split())}\n" for note in notes)
    columns = "l" * texts + "r" * (len(rows[0]) - texts)
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
