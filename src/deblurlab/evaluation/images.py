"""Images of an evaluation: samples for the report, and every restored image if they are saved."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deblurlab.datasets.frame_store import Reader
from deblurlab.errors import UserError
from deblurlab.evaluation.evaluator import Row, Task, read_pair
from deblurlab.media.images import write_png
from deblurlab.metrics import Measurement
from deblurlab.metrics.levels import levels
from deblurlab.restorers import BaseRestorer
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import is_inside


def write_samples(
    run: Run,
    tasks: Sequence[Task],
    rows: Sequence[Row],
    restored: Mapping[str, Tensor],
    restorer: BaseRestorer,
    reader: Reader,
    measurement: Measurement,
) -> None:
    """Write `blurred | restored | sharp` images with the lowest, the median and the highest gain of each set."""
    run.samples.mkdir(exist_ok=True)
    for name in dict.fromkeys(task.set for task in tasks):
        pairs = [(task, row) for task, row in zip(tasks, rows, strict=True) if task.pair.references]
        measured = [(task, row) for task, row in pairs if task.set == name and not row["error"]]
        measured.sort(key=lambda item: _finite_gain(item[1], measurement))
        chosen = {0: "worst", len(measured) - 1: "best", (len(measured) - 1) // 2: "median"} if measured else {}
        for number, (i, label) in enumerate(sorted(chosen.items())):
            task = measured[i][0]
            blurred, references = read_pair(task.pair, reader)
            image = restored[task.key] if task.key in restored else restorer(blurred, task.pair).image
            strip = torch.cat([blurred, image, references[0]], dim=2)
            file = run.samples / f"{name}_{number}_{label}_{task.pair.name.replace('/', '-')}.png"
            write_png(file, to_pixels(strip))


def restored_file(run: Run, task: Task) -> Path:
    """Return where `save=true` writes the restored image of a task."""
    file = run.folder / "restored" / task.set / f"{task.pair.name}.png"
    if not is_inside(file, run.folder / "restored"):
        raise UserError(
            f"save=true can't write {task.pair.name}: the data set's name of an image must be a relative path"
        )
    return file


def to_pixels(image: Tensor) -> np.ndarray:
    """Return an image, `(3, H, W)` in [0, 1], as `(H, W, 3)` uint8."""
    return levels(image).to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def _finite_gain(row: Row, measurement: Measurement) -> float:
    """Return the gain in the first metric of single images; 0 if it is infinite or there is no such metric."""
    for name in measurement.names:
        gain = measurement.info[name].gain(row.get(f"{name}_blurred"), row.get(name))
        return gain if gain is not None and math.isfinite(gain) else 0.0
    return 0.0
