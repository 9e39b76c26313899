"""Commands of `deblurlab report`."""

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
from deblurlab.reporting.ablation import numbers as ablation_numbers
from deblurlab.reporting.ablation import read_ablation
from deblurlab.reporting.ablation import table as ablation_table
from deblurlab.reporting.ablation import table_notes as ablation_notes
from deblurlab.reporting.comparison import comparison, print_comparison, protocol_text, table_notes
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.sweep import read_jobs
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run

Rows = Sequence[dict[str, str]]
Writer = Callable[[Rows, Sequence[str]], str]


def table(folders: Sequence[Path], form: str, output: Path | None) -> None:
    """Print or write one table of several finished evaluations and trainings.

    Raises:
        UserError: A folder contains neither.
    """
    evaluations = [_results(folder) for folder in folders]
    if form == "terminal" and output is None:
        print_comparison(evaluations)
        return
    rows = comparison(evaluations)
    if form == "csv":  # a CSV file has no notes
        protocols = [protocol_text(results) for results in evaluations for _ in results["sets"]]
        rows = [{**row, "protocol": protocol} for row, protocol in zip(rows, protocols, strict=True)]
    _write(rows, table_notes(evaluations), form, output, text_columns=3)


def sweep(folder: Path, form: str, output: Path | None, baseline: Sequence[str]) -> None:
    """Print the table of a sweep's configurations and write the sweep's page, or write the table to a file.

    Raises:
        UserError: No job has finished, the jobs are not comparable, or a baseline setting is invalid.
    """
    if invalid := [setting for setting in baseline if "=" not in setting]:
        raise UserError(f"--baseline {invalid[0]} is not a setting: write key=value")
    ablation = read_ablation(folder, dict(setting.partition("=")[::2] for setting in baseline))
    rows, notes = ablation_table(ablation), ablation_notes(ablation)
    text_columns = len(ablation.configurations[0].varied)
    if form == "terminal" and output is None:
        from deblurlab.reporting.sweep_page import write_sweep  # loads matplotlib, which tables don't need

        columns = (
            Column(markup.escape(title), justify="left" if i < text_columns else "right")
            for i, title in enumerate(rows[0])
        )
        terminal_table = Table(*columns)
        for row in rows:
            terminal_table.add_row(*map(markup.escape, row.values()))
        console = Console()
        console = console if console.is_terminal else Console(width=160)
        console.print(terminal_table)
        for note in notes:
            console.print(note, style="dim", highlight=False, markup=False)
        print(write_sweep(ablation))
        return
    if form == "csv":
        exact = ablation_numbers(ablation)
        rows = [{key: "" if cell is None else str(cell) for key, cell in row.items()} for row in exact]
    _write(rows, notes, form, output, text_columns=text_columns)


def index(folder: Path) -> None:
    """Write the page over all runs below a folder and print its path.

    Raises:
        UserError: The folder contains no runs.
    """
    from deblurlab.reporting.index import write_index  # loads Jinja, which tables don't need

    print(write_index(folder))


def watch(folder: Path, baseline: Sequence[str], *, every: float = 30.0) -> None:
    """Print the table of a running sweep every `every` seconds until interrupted."""
    console = Console()
    while True:
        console.clear()
        try:
            sweep(folder, "terminal", None, baseline)
        except UserError as error:  # no job has finished yet
            console.print(str(error), markup=False)
            for job in read_jobs(folder) if folder.is_dir() else []:
                console.print(f"{job.run.folder} {job.state}: {job.detail}", style="dim", highlight=False, markup=False)
        time.sleep(every)


def _write(rows: Rows, notes: Sequence[str], form: str, output: Path | None, *, text_columns: int) -> None:
    """Write a table to a file, or print it if `output` is None; the first `text_columns` columns contain text."""
    latex = partial(_latex, text_columns=text_columns)
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
    """Print the differences of the second evaluation from the first, and whether they are significant.

    Raises:
        UserError: The evaluations are not comparable.
    """
    comparison_table = Table("set", "metric", "difference", "standard error", "95 % interval", "images", "groups", "")
    differences = statistics.compare(first, second)
    infos = metrics_of(*(results for folder in (first, second) if (results := Run(folder).results())))
    for name, metrics in differences.items():
        for metric, d in metrics.items():
            one_group = d.groups == 1
            significance = "significant" if d.significant else "not significant"
            few = "one group: no interval" if one_group else f"fewer than {statistics.MIN_GROUPS} groups"
            conclusion = significance if d.groups >= statistics.MIN_GROUPS else few
            info = infos[metric]
            text = partial(info.format, digits=info.digits + 2 if one_group else info.digits_for(d.high - d.low))
            interval = "-" if one_group else f"{text(d.low, '+')} .. {text(d.high, '+')}"
            error = "-" if one_group else text(d.standard_error)
            cells = text(d.mean, "+"), error, interval, str(d.images), str(d.groups), conclusion
            comparison_table.add_row(markup.escape(name), markup.escape(info.heading), *cells)
    console = Console()
    console = console if console.is_terminal else Console(width=140)
    console.print(comparison_table)
    console.print(
        f"The bootstrap resamples groups; with fewer than {statistics.MIN_GROUPS} its interval is too narrow.",
        style="dim",
    )


def _results(folder: Path) -> dict[str, Any]:
    results = Run(folder).results()
    if results is None:
        raise UserError(
            f"{folder} contains no finished evaluation or training: wait for it, or choose another folder; the table "
            f"of a sweep is `deblurlab report sweep {folder}`"
        )
    return results


def _markdown(rows: Rows, notes: Sequence[str]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells) + "\n" + "".join(f"{note}\n" for note in notes)


def _latex(rows: Rows, notes: Sequence[str], *, text_columns: int) -> str:
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
    columns = "l" * text_columns + "r" * (len(rows[0]) - text_columns)
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
    paragraphs = "".join(f"<p>{escape(note)}</p>\n" for note in notes)
    return f"<table>\n{line(list(rows[0]), 'th')}{body}</table>\n{paragraphs}"
