"""Loading that outlives its workers, slow disks and broken images."""

import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from deblurlab.dataloading.sampler import Key
from deblurlab.errors import UserError, list_first

_LOG = logging.getLogger(__name__)
_GRACE = 15
"""Seconds that a worker lives on after a SIGTERM."""


class Loader:
    """A `DataLoader`'s batches. Where a worker dies, or no batch comes within `timeout` seconds, the workers are
    started anew and go on with the very batch that is missing.

    Args:
        make: Makes the DataLoader of a sampler of batches.
        batches: Samples batches of keys.
        files: The files that a key stands for, for messages.
        retries: How often in a row the workers are started anew.
        timeout: Seconds; 0 waits for ever.

    Raises:
        UserError: They failed once more; it names the files of the batch that was waited for.
    """

    def __init__(
        self,
        make: Callable[[Sampler[list[Key]]], DataLoader[Any]],
        batches: Sampler[list[Key]],
        *,
        files: Callable[[Key], list[str]],
        retries: int,
        timeout: float,
    ) -> None:
        self._make, self._issued, self._files = make, _Issued(batches), files
        self._retries, self._timeout = retries, timeout
        self._loader: DataLoader[Any] | None = None
        self._late = threading.Event()

    def __len__(self) -> int:
        return len(self._issued)

    def __iter__(self) -> Iterator[Any]:
        self._issued.begin()
        failures = 0
        while True:
            batches: Iterator[Any] = iter(())
            try:
                if self._loader is None:
                    self._loader = self._make(self._issued)
                batches = iter(self._loader)
                _tame_the_handler()
                while (batch := self._next(batches)) is not None:
                    self._issued.waiting.popleft()
                    failures = 0
                    yield batch
                return
            except (RuntimeError, EOFError, ConnectionError) as error:  # the latter two of one that dies while it sends
                died = str(error).startswith("DataLoader worker (pid") or not isinstance(error, RuntimeError)
                if not died or str(error).startswith("Caught "):  # in a worker that lives on
                    raise
                what = "a worker of the loader has died"
                if self._late.is_set():
                    what = f"nothing was read for {self._timeout:g} s"
                failures += 1
                if failures > self._retries:
                    raise UserError(
                        f"{what} {failures} times in a row, waiting for a batch of {list_first(self._missing())}: is the "
                        f"storage there, or the memory too small? loader.workers=0 shows what an image does; the same "
                        f"command goes on"
                    ) from error
                _LOG.warning(
                    "%s, waiting for a batch of %s: the workers are started anew (%d of %d).",
                    what[0].upper() + what[1:],
                    list_first(self._missing()),
                    failures,
                    self._retries,
                )
                _kill_workers(batches)
                del batches
                self._loader = None

    def close(self) -> None:
        """End the workers."""
        self._loader = None

    def _next(self, batches: Iterator[Any]) -> Any:
        """The next batch, or None. Workers that take too long are killed, which ends the waiting in any state."""
        self._late.clear()
        if not self._timeout:
            return _waiting_for(batches)

        def end() -> None:
            self._late.set()
            _kill_workers(batches)

        timer = threading.Timer(self._timeout, end)
        timer.start()
        try:
            return _waiting_for(batches)
        finally:
            timer.cancel()

    def _missing(self) -> list[str]:
        keys = self._issued.waiting[0] if self._issued.waiting else []
        return [file for key in keys for file in self._files(key)]


def files_of(dataset: Dataset[Any]) -> Callable[[Key], list[str]]:
    """The files that a key of a data set stands for, if it lists pairs."""
    pairs = getattr(dataset, "pairs", None)
    return lambda key: [f"sample {key[1]}"] if pairs is None else [str(pairs[key[1]].blurred)]


class _Issued(Sampler[list[Key]]):
    """Batches of keys, remembered until they have come as batches of images."""

    def __init__(self, batches: Sampler[list[Key]]) -> None:
        self._batches = batches
        self.waiting: deque[list[Key]] = deque()
        self._rest: Iterator[list[Key]] = iter(())

    def begin(self) -> None:
        self.waiting.clear()
        self._rest = iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[Key]]:
        again = list(self.waiting)
        self.waiting.clear()
        for keys in chain(again, self._rest):
            self.waiting.append(keys)
            yield keys


def _kill_workers(batches: Iterator[Any]) -> None:
    for worker in getattr(batches, "_workers", ()):
        worker.kill()


_wait: dict[str, Any] = {"now": False, "check": None}


def _waiting_for(batches: Iterator[Any]) -> Any:
    """The next batch, or None. Only in here does a worker's death make itself known."""
    _wait["now"] = True
    try:
        if _wait["check"] is not None:
            _wait["check"](signal.SIGCHLD, None)
        return next(batches, None)
    finally:
        _wait["now"] = False


def _tame_the_handler() -> None:
    """torch raises a worker's death wherever the program happens to be, which may be within a training step."""
    if threading.current_thread() is not threading.main_thread() or _wait["check"] is not None:
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if not callable(handler):  # no worker has been started yet
        return

    def tamed(number: int, frame: FrameType | None) -> None:
        if _wait["now"]:
            handler(number, frame)

    _wait["check"] = handler
    signal.signal(signal.SIGCHLD, tamed)


class Substituted(Dataset[Any]):
    """A data set that has the next sample stand in for one that can't be read, or the one after that; a sample's
    `unreadable` says why, or is empty."""

    def __init__(self, dataset: Dataset[Any], *, most: int = 10) -> None:
        self._dataset, self._most = dataset, most

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: Key) -> Any:
        epoch, index, size = key
        why: list[str] = []
        for i in range(self._most):
            try:
                sample = self._dataset[epoch, (index + i) % len(self), size]
                return {**sample, "unreadable": "; ".join(why)}
            except UserError as error:
                why.append(str(error))
        raise UserError(f"{self._most} samples in a row can't be read: {why[0]}")


def calm_worker(worker: int) -> None:
    """In a worker: Ctrl-C and the end of its whole process group are the main process's affair, which finishes its
    batch first."""

    def later(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(_GRACE)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, later)
