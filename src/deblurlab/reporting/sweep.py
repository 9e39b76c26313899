"""Jobs of a sweep: varied settings, progress and results."""

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from deblurlab.errors import UserError, list_first
from deblurlab.reporting.statistics import PerImage, per_image
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import read_yaml

State = Literal["finished", "unfinished", "broken"]
_NOT_VARIED = {"seed", "name", "runs", "fresh"}
"""Overrides that do not distinguish configurations."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep, read from its folder."""

    run: Run
    state: State
    detail: str
    """Progress of an unfinished job, error of a broken one."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    images: PerImage = field(default_factory=dict)


@dataclass(frozen=True)
class Configuration:
    """Finished jobs that differ only in the seed."""

    varied: Mapping[str, str]
    jobs: Sequence[Job]


def read_jobs(folder: Path) -> list[Job]:
    """Return every run below a sweep's folder, in the order of their start.

    Raises:
        UserError: The folder contains no runs.
    """
    found = {path.parent for name in ("config.yaml", "results.json") for path in folder.rglob(name)}
    if not found:
        raise UserError(f"{folder} contains no runs: give the folder of a sweep, such as runs/losses")
    jobs = [_read(Run(path)) for path in found]
    return sorted(jobs, key=lambda job: (_start_time(job), job.run.folder))


def configurations(jobs: Sequence[Job]) -> list[Configuration]:
    """Group the finished jobs by their varied settings, in the order of their start.

    Raises:
        UserError: No job has finished, or the jobs differ in their data or protocol.
    """
    finished = [job for job in jobs if job.state == "finished"]
    if not finished:
        raise UserError("none of the jobs has finished")
    _check_comparable(finished)
    keys = list(dict.fromkeys(key for job in finished for key in job.overrides))
    varied = [key for key in keys if len({job.overrides.get(key) for job in finished}) > 1 and key not in _NOT_VARIED]
    found: dict[tuple[str, ...], list[Job]] = {}
    for job in finished:
        found.setdefault(tuple(job.overrides.get(key, "-") for key in varied), []).append(job)
    for group in found.values():
        seeds = [job.results["seed"] for job in group]
        if repeated := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
            raise UserError(
                f"{list_first([str(job.run.folder) for job in group])} have the same settings and seed {repeated[0]} "
                f"and would be counted twice: delete all but one"
            )
    return [Configuration(dict(zip(varied, values, strict=True)), group) for values, group in found.items()]


def _check_comparable(finished: Sequence[Job]) -> None:
    first = finished[0]
    for job in finished[1:]:
        for name, a, b in (
            ("data", first.config.get("data"), job.config.get("data")),
            ("protocol", first.results["protocol"], job.results["protocol"]),
            ("test sets", list(first.results["sets"]), list(job.results["sets"])),
        ):
            if a != b:
                raise UserError(
                    f"{first.run.folder} and {job.run.folder} differ in {name} and are not comparable: "
                    f"{_difference(name, a, b)}"
                )


def _difference(name: str, a: Any, b: Any) -> str:
    """Describe the first difference of two settings."""
    if not isinstance(a, Mapping) or not isinstance(b, Mapping):
        return f"{a} and {b}"
    key = next(key for key in {**a, **b} if a.get(key) != b.get(key))
    return (
        _difference(f"{name}.{key}", a.get(key), b.get(key))
        if isinstance(a.get(key), Mapping)
        else (f"{name}.{key} is {a.get(key)} and {b.get(key)}")
    )


def _read(run: Run) -> Job:
    try:
        config, arguments = read_yaml(run.config_file), read_yaml(run.overrides_file)
        overrides = dict(argument.lstrip("+").partition("=")[::2] for argument in arguments)
        results = run.results()
        if results is not None and not {"sets", "protocol", "seed", "parameters", "seconds"} <= results.keys():
            raise UserError(f"{run.results_file} does not contain the results of a training")
        images = {} if results is None else per_image(run.per_image_file)
    except Exception as error:  # readers of damaged files raise many types
        return Job(run, "broken", " ".join(str(error).split()) or type(error).__name__)
    if results is not None:
        return Job(run, "finished", "", overrides, config, results, images)
    return Job(run, "unfinished", progress(run, config), overrides, config)


def progress(run: Run, config: Mapping[str, Any]) -> str:
    """Return the latest step of an unfinished run and the time since its files last changed."""
    changes = [path.stat().st_mtime for path in (run.metrics_file, run.last_checkpoint) if path.exists()]
    if not changes:
        return "no step logged yet"
    step = 0
    if run.metrics_file.exists():
        with run.metrics_file.open(newline="") as file:
            step = max(
                (int(row["step"]) for row in csv.DictReader(file) if (row.get("step") or "").isdigit()), default=0
            )
    steps = config["trainer"]["max_steps"]
    total = f" of {steps:,}" if steps > 0 else ""
    return f"step {step:,}{total}, last update {_duration(time.time() - max(changes))} ago"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _start_time(job: Job) -> float:
    """Return the time at which a finished job started, or that at which an unfinished one's config was written."""
    finished, seconds = (job.results.get(key) for key in ("finished", "seconds"))
    if finished is not None and seconds is not None:  # also valid for copies of the folder
        return datetime.fromisoformat(finished).timestamp() - float(seconds)
    return job.run.config_file.stat().st_mtime if job.run.config_file.exists() else 0.0
