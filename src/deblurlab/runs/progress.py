"""Progress of long work on standard error: a bar on a terminal, otherwise a line every half minute."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from deblurlab.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
_INTERVAL = 30.0
"""Seconds between two lines."""


class Update(Protocol):
    """Function that shows what is done, and what of."""

    def __call__(self, completed: float, description: str | None = None) -> None:
        """Show the completed part of the total."""


class ProgressLines:
    """Lines with the share done and the time left, at most one every half minute.

    Args:
        description: Text before the share.
        total: Amount of work.
        completed: Amount that was done before, by an earlier process.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, description: str, total: float, *, completed: float = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._description, self._total, self._before, self._clock = description, total, completed, clock
        self._start = self._printed = clock()

    def __call__(self, completed: float, description: str | None = None) -> None:
        """Print a line if one is due."""
        now = self._clock()
        if now - self._printed < _INTERVAL or completed <= self._before:
            return
        self._printed = now
        left = (now - self._start) * (self._total - completed) / (completed - self._before)
        text = printable(self._description if description is None else description)
        share = f"{100 * completed / self._total:.0f} %"
        print(f"{text}: {share}, {timedelta(seconds=round(left))} left", file=sys.stderr, flush=True)


@contextmanager
def progress(
    description: str, total: float, *, console: "Console | None" = None, disable: bool = False
) -> Iterator[Update]:
    """Show the progress of the block, which calls the yielded function with the completed part of `total`.

    Args:
        description: Text before the bar.
        total: Amount of work.
        console: Console of standard error that the block prints to.
        disable: Show nothing.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    if disable or not console.is_terminal:
        lines = ProgressLines(description, total)
        yield (lambda completed, description=None: None) if disable else lines
        return
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(escape(description), total=total)

        def update(completed: float, description: str | None = None) -> None:
            text = None if description is None else escape(printable(description))
            bar.update(task, completed=completed, description=text)

        yield update


def track(
    steps: Iterable[T], description: str, total: int, *, console: "Console | None" = None, disable: bool = False
) -> Iterator[T]:
    """Yield the steps and show the progress after each of `total` ones; see `progress`."""
    with progress(description, total, console=console, disable=disable) as update:
        for completed, step in enumerate(steps, 1):
            yield step
            update(completed)
