"""Restoration and measurement of a list of images."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from deblurlab.datasets import Item
from deblurlab.datasets.frame_store import Reader
from deblurlab.datasets.samples import read_checked, to_tensor
from deblurlab.errors import UserError
from deblurlab.metrics import Measurement
from deblurlab.restorers.base import BaseRestorer, Restored
from deblurlab.restorers.psf import read_recipe
from deblurlab.runs.progress import track

Row = dict[str, Any]
"""Result of one image: a row of `per_image.csv`."""
_RECIPE_COLUMNS = ("blur_length", "rotation", "objects", "defocus", "read_noise", "shot_noise", "jpeg_quality")


class Task(NamedTuple):
    """A pair to evaluate."""

    set: str
    """Name of the test set."""
    pair: Item

    @property
    def key(self) -> str:
        """Identifier of the task in a run."""
        return f"{self.set}/{self.pair.name}"


@dataclass
class TaskResult:
    """Images of a task and the outcome of its restoration."""

    blurred: Tensor | None = None
    """`(3, H, W)` in [0, 1]; None if a file couldn't be read."""
    references: list[Tensor] = field(default_factory=list)
    restored: Restored | None = None
    seconds: float = 0.0
    """Duration of the restoration."""
    error: str | None = None

    def restore(self, restorer: BaseRestorer, pair: Item) -> None:
        """Restore the blurred image and record the duration, or the error."""
        assert self.blurred is not None
        start = time.perf_counter()
        try:
            self.restored = restorer(self.blurred, pair)
        except (UserError, ValueError, ArithmeticError, RuntimeError) as error:  # other images may succeed
            self.error = str(error) or type(error).__name__
        self.seconds = time.perf_counter() - start


def evaluate_tasks(
    tasks: Sequence[Task], restorer: BaseRestorer, measurement: Measurement, reader: Reader
) -> Iterator[tuple[Row, TaskResult]]:
    """Yield the row and the result of each task, in order.

    While an image is restored, the previous one is measured and the next one is read.

    Raises:
        UserError: The configuration can't restore any image. Errors of single images are recorded in their rows.
    """
    with ThreadPoolExecutor(2) as pool:
        ahead = deque(pool.submit(read_pair, task.pair, reader) for task in tasks[:2])
        measuring: Future[tuple[Row, TaskResult]] | None = None
        warm = False
        for i, task in enumerate(track(tasks, "measuring", len(tasks), disable=len(tasks) < 2)):
            if i + 2 < len(tasks):
                ahead.append(pool.submit(read_pair, tasks[i + 2].pair, reader))
            result = TaskResult()
            try:
                result.blurred, result.references = ahead.popleft().result()
                if not warm:
                    restorer.warm_up(result.blurred, task.pair)
                    warm = True
            except UserError as error:
                if result.blurred is not None:  # raised by warm_up: no image can be restored
                    raise
                result.error = str(error)
            else:
                result.restore(restorer, task.pair)
            if measuring is not None:
                yield measuring.result()
            measuring = pool.submit(_measure, task, result, measurement)
        if measuring is not None:
            yield measuring.result()


def read_pair(pair: Item, reader: Reader) -> tuple[Tensor, list[Tensor]]:
    """Return the blurred image and its references, `(3, H, W)` in [0, 1]."""
    images = (read_checked(reference, reader) for reference in (pair.blurred, *pair.references))
    blurred, *references = (to_tensor(image).float() / 255 for image in images)
    return blurred, references


def _measure(task: Task, result: TaskResult, measurement: Measurement) -> tuple[Row, TaskResult]:
    """Return the row of a result, with the metrics of the restored and of the blurred image.

    Raises:
        UserError: A metric can't measure any image.
    """
    row: Row = {"set": task.set, "image": task.pair.name}
    try:
        if result.blurred is not None:
            blurred = measurement.measure(result.blurred, result.references)
            row |= {f"{name}_blurred": value for name, value in blurred.items()}
        if result.restored is not None:
            assert result.blurred is not None
            row |= measurement.measure(result.restored.image, result.references)
            row["seconds"] = result.seconds
            row["megapixels"] = result.blurred[0].numel() / 1e6
            row |= {"psf": result.restored.psf, "untouched": result.restored.untouched}
        recipe = read_recipe(task.pair)
        row |= {key: recipe.get(key) for key in _RECIPE_COLUMNS}
    except ValueError as error:
        result.error = str(error)
    return row | {"error": result.error}, result
