"""From a config to a measured restorer: image by image, taken up where it was left, shared by several processes."""

import json
import math
import resource
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from deblurlab.datasets import PairSet, Unreferenced
from deblurlab.datasets.frame_store import Reader
from deblurlab.errors import UserError
from deblurlab.evaluation.evaluator import Attempt, Row, Work, measured, read_pair
from deblurlab.media.images import write_png
from deblurlab.metrics import LOWER_IS_BETTER, NO_REFERENCE, Protocol
from deblurlab.metrics.levels import levels
from deblurlab.reporting import write_evaluation
from deblurlab.restorers import BaseRestorer, Psf
from deblurlab.runs import environment
from deblurlab.runs.environment import resolve_device
from deblurlab.runs.files import write_csv, write_json
from deblurlab.runs.folder import Run, parse_shard

Results = dict[str, Any]

_KEPT = 64
"""Sets up to this size keep what was restored in memory, for the report's pictures."""


def evaluate(
    cfg: DictConfig, *, overrides: Sequence[str] = (), options: Mapping[str, str] | None = None
) -> Results | None:
    """Measure the restorer that a config describes on its data set's test sets: the images that no other process or
    earlier attempt has done.

    Args:
        cfg: What conf/evaluate.yaml composes to.
        overrides: The command line's, to be noted in the folder.
        options: The chosen option of each config group, to be noted in the results.

    Returns:
        What `results.json` holds; None if other shards haven't finished.

    Raises:
        UserError: Whatever the user can mend.
    """
    run = Run(Path(cfg.run))
    shard, shards = parse_shard(cfg.shard)
    protocol: Protocol = instantiate(cfg.protocol, _convert_="all")
    data: PairSet = instantiate(cfg.data, _convert_="all")
    psf: Psf = instantiate(cfg.psf, _convert_="all")
    restorer: BaseRestorer = instantiate(cfg.restorer, _convert_="all")
    data.prepare()
    work = _work(data, cfg.limit)
    _check_measurable(work, protocol)
    restorer.prepare(resolve_device(cfg.device), psf)
    if cfg.fresh:
        if run.checkpoints.exists():
            raise UserError(f"{run.folder} is a training: fresh=true won't delete it; choose another name=")
        run.clear()
    run.claim({**_record(cfg), "unavailable": sorted(protocol.unavailable)}, overrides)
    if (finished := run.results()) is not None and not finished["failed"]:
        if not run.report_file.exists():
            write_evaluation(run)
        return finished
    good = {key for key, row in _rows(run).items() if row["error"] is None}
    todo = [one for i, one in enumerate(work) if i % shards == shard and one.key not in good]
    kept = {}
    for one, attempt in _noted(run, cfg.shard or "1/1", measured(todo, restorer, protocol, data.reader())):
        if attempt.restored is not None and len(work) <= _KEPT:
            kept[one] = attempt.restored.image
    rows = _rows(run)
    if any(one.key not in rows for one in work):
        return None
    ordered = [rows[one.key] for one in work]
    results = {
        "name": run.folder.name,
        "options": dict(options or {}),
        "settings": {group: OmegaConf.to_container(cfg[group], resolve=True) for group in ("restorer", "psf")},
        "seed": cfg.seed,
        **restorer.cost(),
        **_scores(ordered, protocol),
        **environment.revision(),
    }
    write_csv(run.per_image_file, _table(ordered))
    _write_cases(run, work, ordered, kept, restorer, data.reader())
    write_json(run.results_file, results)
    write_evaluation(run)
    return run.results()


def _noted(run: Run, shard: str, measured: Iterator[tuple[Row, Attempt]]) -> Iterator[tuple[str, Attempt]]:
    """What was measured, by the image's key, each row written down before the next comes."""
    run.parts.mkdir(exist_ok=True)
    with (run.parts / f"{shard.replace('/', '-of-')}.jsonl").open("a") as part:
        if part.tell():
            part.write("\n")  # the last line may have been cut off
        for row, attempt in measured:
            part.write(json.dumps(row) + "\n")
            part.flush()
            yield f"{row['set']}/{row['image']}", attempt


def _scores(rows: Sequence[Row], protocol: Protocol) -> dict[str, Any]:
    """What all rows together say."""
    return {
        "protocol": protocol.describe(),
        "unavailable": protocol.unavailable,
        "sets": _summary(rows, protocol),
        "failed": {f"{row['set']}/{row['image']}": row["error"] for row in rows if row["error"]},
        "seconds_per_megapixel": _speed(rows),
        "peak_memory_mib": _peak_memory(),
    }


def _write_cases(
    run: Run,
    work: Sequence[Work],
    rows: Sequence[Row],
    kept: Mapping[str, Tensor],
    restorer: BaseRestorer,
    reader: Reader,
) -> None:
    """Pictures, `blurred | restored | sharp`, of the images that gained least, most, and the one between."""
    run.samples.mkdir(exist_ok=True)
    for name in dict.fromkeys(one.set for one in work):
        both = [(one, row) for one, row in zip(work, rows, strict=True) if not isinstance(one.pair, Unreferenced)]
        good = [(one, row) for one, row in both if one.set == name and not row["error"]]
        good.sort(key=lambda case: _gain(case[1]))
        places = {0: "worst", len(good) - 1: "best", (len(good) - 1) // 2: "median"} if good else {}
        for number, (i, which) in enumerate(sorted(places.items())):
            one = good[i][0]
            blurred, sharp = read_pair(one.pair, reader)
            restored = kept[one.key] if one.key in kept else restorer(blurred, one.pair).image
            strip = torch.cat([blurred, restored, sharp[0]], dim=2)
            picture = levels(strip).to(torch.uint8).permute(1, 2, 0).numpy()
            write_png(run.samples / f"{name}_{number}_{which}_{one.pair.name.replace('/', '-')}.png", picture)


def _work(data: PairSet, limit: int | None) -> list[Work]:
    """What is to be measured: the test sets, or if there is none the validation set."""
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit} must be at least 1")
    work = []
    for name, pairs in (data.tests() or {"val": data.val()}).items():
        count = len(pairs) if limit is None else min(limit, len(pairs))
        work += [Work(name, pairs[i]) for i in np.linspace(0, len(pairs) - 1, count).round().astype(int)]
    if not work:
        raise UserError("the data set has nothing to measure on: neither test nor validation pairs")
    return work


def _check_measurable(work: Sequence[Work], protocol: Protocol) -> None:
    if any(isinstance(one.pair, Unreferenced) for one in work) and not NO_REFERENCE & set(protocol.metrics):
        raise UserError(
            "the data set's images have no sharp twins to measure by: name pairs (data.test_blurred, data.test_sharp), "
            "or take protocol.metrics=[sharpness], which needs none"
        )


def _record(cfg: DictConfig) -> dict[str, Any]:
    """The config, to tell this evaluation from another."""
    return OmegaConf.to_container(cfg, resolve=True)  # type: ignore[return-value]


def _rows(run: Run) -> dict[str, Row]:
    """What all processes have measured so far. A line that was cut off in the midst doesn't count."""
    rows: dict[str, Row] = {}
    for part in sorted(run.parts.glob("*.jsonl")):
        for line in part.read_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            key = f"{row['set']}/{row['image']}"
            if row["error"] is None or key not in rows:  # what has failed may have been mended since
                rows[key] = row
    return rows


def _summary(rows: Sequence[Row], protocol: Protocol) -> dict[str, Any]:
    """Means over the images of each set that were restored, with their standard errors."""
    sets: dict[str, Any] = {}
    for name in dict.fromkeys(row["set"] for row in rows):
        good = [row for row in rows if row["set"] == name and not row["error"]]
        keys = [key + end for key in protocol.metrics for end in ("", "_blurred") if good and key + end in good[0]]
        sets[name] = {
            "images": len(good),
            "failed": sum(row["set"] == name for row in rows) - len(good),
            "untouched": sum(row["untouched"] is not None for row in good),
            **{key: math.fsum(row[key] for row in good) / len(good) for key in keys},
            "standard_error": {key: _standard_error([row[key] for row in good]) for key in keys},
        }
    return sets


def _standard_error(values: Sequence[float]) -> float | None:
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    return statistics.stdev(values) / math.sqrt(len(values))


def _gain(row: Row) -> float:
    """In PSNR, or in the first metric that there is."""
    name = next(key.removesuffix("_blurred") for key in row if key.endswith("_blurred"))
    gain = row[name] - row[f"{name}_blurred"]
    return (-gain if name in LOWER_IS_BETTER else gain) if math.isfinite(gain) else 0.0


def _table(rows: Sequence[Row]) -> list[Row]:
    """Rows with the same columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return [{column: row.get(column) for column in columns} for row in rows]


def _speed(rows: Sequence[Row]) -> float | None:
    speeds = [row["seconds"] / row["megapixels"] for row in rows if not row["error"]]
    return statistics.median(speeds) if speeds else None


def _peak_memory() -> float:
    """Of the device if it is a GPU, else of this process, in MiB."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
