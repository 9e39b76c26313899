"""HTML page over all runs below a folder."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from deblurlab.errors import UserError
from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.comparison import format_count
from deblurlab.reporting.metrics import metrics_of
from deblurlab.reporting.provenance import method
from deblurlab.reporting.sweep import progress
from deblurlab.reporting.template import render
from deblurlab.runs.files import write_text
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import read_yaml

_TEXT_COLUMNS = ("run", "kind", "state", "model or restorer", "loss", "data", "set")


class Cell(NamedTuple):
    """Cell of the table."""

    text: str
    order: str = ""
    """What the column is sorted by, if it isn't the text."""
    link: str = ""
    is_number: bool = False


@dataclass(frozen=True)
class _Entry:
    """One run, read from its folder."""

    run: Run
    kind: str = ""
    state: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    """Model or restorer, loss and data, by column; of an unfinished run those of its command only."""
    results: Mapping[str, Any] = field(default_factory=dict)
    """Empty if the run hasn't finished."""


def write_index(folder: Path) -> Path:
    """Write index.html into a folder: a table of all runs below it, one row per run and test set.

    Runs that can't be read are listed with the error.

    Raises:
        UserError: The folder contains no runs, or can't be written.
    """
    found = {path.parent for name in ("config.yaml", "results.json") for path in folder.rglob(name)}
    if not found:
        raise UserError(f"{folder} contains no runs: give a folder such as runs")
    entries = [_read(Run(path)) for path in sorted(found)]
    results = [entry.results for entry in entries if entry.results]
    metrics = {
        name: info
        for name, info in metrics_of(*results).items()
        if any(name in values for each in results for values in each["sets"].values())
    }
    compared = {m for m in metrics for each in results for values in each["sets"].values() if f"{m}_blurred" in values}
    columns = [*_TEXT_COLUMNS]
    for name, info in metrics.items():
        columns += [info.heading, *([f"gain in {info.title}"] if name in compared else [])]
    page = render(
        "index.html.j2",
        title=f"Runs in {folder.resolve().name}",
        columns=[*columns, "parameters", "date"],
        text_columns=len(_TEXT_COLUMNS),
        rows=[row for entry in entries for row in _rows(entry, folder, metrics, compared)],
        differing=_differing_protocols(results),
    )
    path = folder / "index.html"
    try:
        write_text(path, page)
    except OSError as error:
        raise UserError(f"{path} can't be written ({error.strerror}): copy the runs to another folder") from error
    return path


def _read(run: Run) -> _Entry:
    try:
        results = run.results()
        config = read_yaml(run.config_file) if results is None else {}
        if results is None:
            kind, state = _unfinished(run, config)
            overrides = dict(argument.lstrip("+").partition("=")[::2] for argument in read_yaml(run.overrides_file))
            options = {key: overrides.get(key, "") for key in ("loss", "data")}
            options["model or restorer"] = overrides.get("model" if kind == "training" else "restorer", "")
            return _Entry(run, kind, f"unfinished: {state}", options)
        kind = "evaluation" if "settings" in results else "training"
        options = {key: str(results["options"].get(key) or "") for key in ("loss", "data")}
        options["model or restorer"] = (
            method(results) if kind == "evaluation" else str(results["options"].get("model") or "")
        )
        entry = _Entry(run, kind, "finished", options, results)
        infos = metrics_of(results)
        _rows(entry, run.folder, infos, infos.keys())  # raises what is wrong with this run's values
        _differing_protocols([results])
    except Exception as error:  # readers of damaged files raise many types
        text = " ".join(str(error).split()) or "no message"
        return _Entry(
            run, state=f"broken: {text if isinstance(error, UserError) else f'{type(error).__name__} {text}'}"
        )
    return entry


def _differing_protocols(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the parts of the protocol, such as "range" or "psnr", in which results that have them differ."""
    texts: dict[str, set[str]] = {}
    for each in results:
        for key, text in each["protocol"].items():
            texts.setdefault(key, set()).add(str(text))
    return [key for key, found in texts.items() if len(found) > 1]


def _unfinished(run: Run, config: Any) -> tuple[str, str]:
    """Return the kind of an unfinished run and how far it is."""
    if "trainer" in config:
        return "training", progress(run, config)
    measured = sum(len(file.read_text().splitlines()) for file in run.parts.glob("*.jsonl"))
    return "evaluation", f"{measured} images measured"


def _rows(
    entry: _Entry, folder: Path, metrics: Mapping[str, MetricInfo], compared: Collection[str]
) -> list[list[Cell]]:
    """Return one row per test set, or one without values if the run hasn't finished."""
    run, report = entry.run, entry.run.report_file
    name = run.folder.relative_to(folder).as_posix()
    link = f"./{quote(report.relative_to(folder).as_posix())}" if report.exists() else ""
    parameters, date = entry.results.get("parameters"), _date(entry)
    rows = []
    for test_set, values in entry.results.get("sets", {"": {}}).items():
        row = [Cell(run.folder.resolve().name if name == "." else name, link=link), Cell(entry.kind), Cell(entry.state)]
        row += [Cell(entry.options.get(column, "")) for column in _TEXT_COLUMNS[3:-1]]
        row.append(Cell(test_set))
        for metric, info in metrics.items():
            row.append(_number(values.get(metric), info))
            if metric in compared:
                row.append(_number(info.gain(values.get(f"{metric}_blurred"), values.get(metric)), info, "+"))
        row += [Cell(format_count(parameters), str(parameters or ""), is_number=True), Cell(date)]
        rows.append(row)
    return rows


def _number(value: float | None, info: MetricInfo, sign: str = "") -> Cell:
    return Cell(info.format(value, sign), "" if value is None else str(float(value)), is_number=True)


def _date(entry: _Entry) -> str:
    """Return when a run finished; if it doesn't say so, when its files were last written."""
    if finished := entry.results.get("finished"):
        return str(finished)
    run = entry.run
    files = [run.results_file, run.metrics_file, run.config_file, *run.parts.glob("*.jsonl")]
    written = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
    return datetime.fromtimestamp(written).astimezone().isoformat(" ", "seconds")
