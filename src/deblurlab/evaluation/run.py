"""Evaluation of a config: measures every image; it can be resumed and divided among several processes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from torch import Tensor

from deblurlab.config import instantiate, to_plain
from deblurlab.datasets import ImageSet
from deblurlab.errors import UserError
from deblurlab.evaluation.evaluator import Row, Task, TaskResult, evaluate_tasks
from deblurlab.evaluation.images import restored_file, to_pixels, write_samples
from deblurlab.evaluation.summary import summarise
from deblurlab.media.images import write_png
from deblurlab.metrics import Measurement, SetMeasurement
from deblurlab.reporting import write_evaluation
from deblurlab.restorers import BaseRestorer, Psf
from deblurlab.runs import environment
from deblurlab.runs.environment import resolve_device
from deblurlab.runs.files import write_csv, write_json
from deblurlab.runs.folder import Run, check_fresh, check_name, parse_shard

Results = dict[str, Any]

_MAX_IN_MEMORY = 64
"""Maximum number of images whose restored versions stay in memory for the report's samples."""


def evaluate(
    cfg: DictConfig, *, overrides: Sequence[str] = (), options: Mapping[str, str] | None = None
) -> Results | None:
    """Measure a restorer on the test sets of a data set.

    Images that another process or an earlier call has measured are skipped.

    Args:
        cfg: The composed conf/evaluate.yaml.
        overrides: Overrides of the command line, recorded in the run's folder.
        options: Chosen option of each config group, recorded in the results.

    Returns:
        The content of `results.json`; None if other shards haven't finished.

    Raises:
        UserError: The config is invalid, or files can't be read or written.
    """
    check_fresh(cfg.fresh)
    check_name(cfg.name, cfg.runs)
    run = Run(Path(cfg.run))
    parse_shard(cfg.shard)
    measurement = Measurement.of(cfg)
    data: ImageSet = instantiate(cfg.data)
    psf: Psf = instantiate(cfg.psf)
    restorer: BaseRestorer = instantiate(cfg.restorer)
    data.prepare()
    data.open()
    tasks = _list_tasks(data, cfg.limit)
    _check_references(tasks, measurement)
    restorer.prepare(resolve_device(cfg.device), psf)
    _claim(run, cfg, measurement, overrides)
    finished = run.results()
    if finished is not None and not finished["failed"] and not _unsaved(run, cfg, tasks):
        if not run.report_file.exists():
            write_evaluation(run)
        return finished
    restored, sets = _measure_remaining(run, cfg, tasks, restorer, measurement, data)
    rows = _read_rows(run)
    if any(task.key not in rows for task in tasks):
        return None
    ordered = [rows[task.key] for task in tasks]
    results = {
        "name": run.folder.name,
        "options": dict(options or {}),
        "settings": {group: to_plain(cfg[group]) for group in ("restorer", "psf")},
        "seed": cfg.seed,
        **restorer.cost(),
        # Before the samples are restored, which may raise the peak memory.
        **summarise(ordered, measurement, {name: measured.compute() for name, measured in sets.items()}),
        "finished": datetime.now().astimezone().isoformat(" ", "seconds"),
        **environment.revision(),
        "sources": environment.source_revisions(to_plain(cfg)),
    }
    write_json(run.environment_file, environment.describe())
    write_csv(run.per_image_file, _align_columns(ordered))
    write_samples(run, tasks, ordered, restored, restorer, data.read, measurement)
    write_json(run.results_file, results)
    write_evaluation(run)
    return run.results()


def _list_tasks(data: ImageSet, limit: int | None) -> list[Task]:
    """Return the pairs of the test sets, or of the validation set if there are none."""
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit} must be at least 1")
    tasks = []
    for name, pairs in (data.tests() or {"val": data.items("val")}).items():
        count = len(pairs) if limit is None else min(limit, len(pairs))
        tasks += [Task(name, pairs[i]) for i in np.linspace(0, len(pairs) - 1, count).round().astype(int)]
    if not tasks:
        raise UserError("the data set has neither test nor validation pairs: choose another with data=")
    return tasks


def _check_references(tasks: Sequence[Task], measurement: Measurement) -> None:
    """Raise UserError if a pair has no reference and a metric of single images doesn't exist that needs none."""
    unreferenced = any(not task.pair.references for task in tasks)
    if unreferenced and (measurement.set_metrics or not measurement.no_reference):
        raise UserError(
            "the data set's images have no sharp references: name pairs (data.test_blurred, data.test_sharp), or "
            "choose metric=sharpness, which needs none"
        )


def _check_whole_sets(cfg: DictConfig, measurement: Measurement) -> None:
    """Raise UserError if this process measures a part of a set only, which metrics of sets can't be merged from."""
    if cfg.shard is not None:
        name = next(iter(measurement.set_metrics))
        raise UserError(f"{name} compares whole sets of images: leave out shard={cfg.shard}, or {name} from metric=")


def _claim(run: Run, cfg: DictConfig, measurement: Measurement, overrides: Sequence[str]) -> None:
    """Write the config into the run's folder, or check that the folder's config is the same."""
    if cfg.fresh:
        if run.checkpoints.exists():
            raise UserError(f"{run.folder} is a training: fresh=true won't delete it; choose another name=")
        run.clear()
    run.claim({**to_plain(cfg), "unavailable": sorted(measurement.unavailable)}, overrides)


def _unsaved(run: Run, cfg: DictConfig, tasks: Sequence[Task]) -> set[str]:
    """Return the keys of the tasks whose restored images are to be saved and aren't yet."""
    return {task.key for task in tasks if cfg.save and not restored_file(run, task).exists()}


def _measure_remaining(
    run: Run,
    cfg: DictConfig,
    tasks: Sequence[Task],
    restorer: BaseRestorer,
    measurement: Measurement,
    data: ImageSet,
) -> tuple[dict[str, Tensor], dict[str, SetMeasurement]]:
    """Measure what no process has measured yet, or this process's share of it.

    Returns:
        Restored images by the key of the task, if there are few, and the measurement of each whole set.
    """
    sets = {name: SetMeasurement(measurement.set_metrics) for name in dict.fromkeys(task.set for task in tasks)}
    if measurement.set_metrics:
        _check_whole_sets(cfg, measurement)
        for part in run.parts.glob("*.jsonl"):  # an interrupted evaluation of whole sets starts again
            part.unlink()
    shard, shards = parse_shard(cfg.shard)
    done = {key for key, row in _read_rows(run).items() if row["error"] is None} - _unsaved(run, cfg, tasks)
    remaining = [task for i, task in enumerate(tasks) if i % shards == shard and task.key not in done]
    restored: dict[str, Tensor] = {}
    measured = evaluate_tasks(remaining, restorer, measurement, data.read)
    for task, result in _append_rows(run, cfg.shard or "1/1", zip(remaining, measured, strict=True)):
        if result.restored is None or result.blurred is None:
            continue
        if cfg.save:
            file = restored_file(run, task)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_png(file, to_pixels(result.restored.image))
        if len(tasks) <= _MAX_IN_MEMORY:
            restored[task.key] = result.restored.image
        if measurement.set_metrics:
            sets[task.set].update(*(x[None] for x in (result.restored.image, result.blurred, result.references[0])))
    return restored, sets


def _append_rows(
    run: Run, shard: str, results: Iterator[tuple[Task, tuple[Row, TaskResult]]]
) -> Iterator[tuple[Task, TaskResult]]:
    """Append each row to the shard's file before the next task starts; yield the task and its result."""
    run.parts.mkdir(exist_ok=True)
    with (run.parts / f"{shard.replace('/', '-of-')}.jsonl").open("a") as file:
        if file.tell():
            file.write("\n")  # the last line may be truncated
        for task, (row, result) in results:
            file.write(json.dumps(row) + "\n")
            file.flush()
            yield task, result


def _read_rows(run: Run) -> dict[str, Row]:
    """Return the rows of all processes by the key of the task. Truncated lines are skipped."""
    rows: dict[str, Row] = {}
    for file in sorted(run.parts.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            key = f"{row['set']}/{row['image']}"
            if row["error"] is None or key not in rows:  # a success replaces earlier failures
                rows[key] = row
    return rows


def _align_columns(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the same columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return [{column: row.get(column) for column in columns} for row in rows]
