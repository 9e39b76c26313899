"""Data loading that survives dead workers, stalled storage and unreadable images."""

import logging
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from deblurlab._compat import worker_processes
from deblurlab.datasets.samples import Key
from deblurlab.errors import UserError, list_first

_LOG = logging.getLogger(__name__)
_SIGTERM_GRACE = 15
"""Seconds that a worker continues after a SIGTERM."""


class ResilientLoader:
    """DataLoader whose workers are restarted if one dies or no batch arrives in time.

    Loading continues with the batch that is missing, so every batch comes once and in order.

    Args:
        make_loader: Returns the DataLoader of a batch sampler.
        batch_sampler: Batches of keys.
        file_names: Returns the names of the files behind a key, for messages.
        retries: Maximum number of restarts in a row.
        timeout: Maximum time to wait for a batch in seconds; 0 means no limit.

    Raises:
        UserError: On iteration: the workers failed more than `retries` times in a row. The message names the files of
            the missing batch.
    """

    def __init__(
        self,
        make_loader: Callable[[Sampler[list[Key]]], DataLoader[Any]],
        batch_sampler: Sampler[list[Key]],
        *,
        file_names: Callable[[Key], list[str]],
        retries: int,
        timeout: float,
    ) -> None:
        self._make_loader, self._sampler, self._file_names = make_loader, _ReplayingSampler(batch_sampler), file_names
        self._retries, self._timeout = retries, timeout
        self._loader: DataLoader[Any] | None = None
        self._batches: Iterator[Any] = iter(())
        self._timed_out = threading.Event()
        self.finish: Callable[[Any], Any] | None = None
        """Applied to every batch in this process."""

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        self._sampler.start_epoch()
        failures = 0
        while True:
            try:
                if self._loader is None:
                    self._loader = self._make_loader(self._sampler)
                # Workers that are kept first finish the batches of an epoch that was left early.
                self._batches = self._limit_time(partial(iter, self._loader))
                _restrict_sigchld_handler()
                while (batch := self._limit_time(partial(_wait_for_batch, self._batches))) is not None:
                    self._sampler.pending.popleft()
                    failures = 0
                    yield batch if self.finish is None else self.finish(batch)
                return
            except (RuntimeError, EOFError, ConnectionError) as error:
                if not _is_worker_failure(error):
                    raise
                problem = "a worker of the data loader died"
                if self._timed_out.is_set():
                    problem = f"no batch was read for {self._timeout:g} s"
                failures += 1
                missing = list_first(self._missing_files())
                if failures > self._retries:
                    raise UserError(
                        f"{problem}, {failures} times in a row, waiting for a batch of {missing}: check the storage "
                        f"and the free memory, or find the image with loader.workers=0; the same command resumes"
                    ) from error
                _LOG.warning(
                    "%s, waiting for a batch of %s: restarting the workers (%d of %d).",
                    problem[0].upper() + problem[1:],
                    missing,
                    failures,
                    self._retries,
                )
                _kill_workers(self._batches)
                self.close()

    def close(self) -> None:
        """Shut the workers down."""
        self._loader, self._batches = None, iter(())

    def _limit_time(self, wait: Callable[[], Any]) -> Any:
        """Return the result of `wait`. Workers that exceed the timeout are killed, which ends it."""
        self._timed_out.clear()
        if not self._timeout:
            return wait()

        def kill() -> None:
            self._timed_out.set()
            _kill_workers(self._batches)

        # Killing the workers ends the wait in any state, such as a blocked read.
        timer = threading.Timer(self._timeout, kill)
        timer.start()
        try:
            return wait()
        finally:
            timer.cancel()

    def _missing_files(self) -> list[str]:
        keys = self._sampler.pending[0] if self._sampler.pending else []
        return [file for key in keys for file in self._file_names(key)]


def file_names_of(dataset: Dataset[Any]) -> Callable[[Key], list[str]]:
    """Return a function from a key to the names of its files, or to the sample's number without a list of pairs."""
    pairs = getattr(dataset, "pairs", None)
    return lambda key: [f"sample {key[1]}"] if pairs is None else [str(pairs[key[1]].blurred)]


class SkipUnreadable(Dataset[Any]):
    """Data set that replaces an unreadable sample by the next readable one.

    Each sample gets the entry `unreadable`: the error messages of the samples that it replaces, or "".

    Args:
        dataset: Data set whose samples are dicts.
        max_attempts: Maximum number of samples to try.

    Raises:
        UserError: On reading: no sample of `max_attempts` in a row is readable.
    """

    def __init__(self, dataset: Dataset[Any], *, max_attempts: int = 10) -> None:
        self._dataset, self._max_attempts = dataset, max_attempts

    def __len__(self) -> int:
        return len(self._dataset)  # type: ignore[arg-type]

    def __getitem__(self, key: Key) -> Any:
        epoch, index, size = key
        errors: list[str] = []
        for i in range(self._max_attempts):
            try:
                sample = self._dataset[epoch, (index + i) % len(self), size]
                return {**sample, "unreadable": "; ".join(errors)}
            except UserError as error:
                errors.append(str(error))
        raise UserError(f"{self._max_attempts} samples in a row can't be read: {errors[0]}")


def defer_signals(worker: int) -> None:
    """Make a worker ignore SIGINT and exit 15 seconds after SIGTERM; a `worker_init_fn`.

    A terminal and a scheduler send these signals to the whole process group, but the main process needs its workers to
    finish the current step.
    """

    def exit_later(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.alarm(_SIGTERM_GRACE)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, exit_later)


class _ReplayingSampler(Sampler[list[Key]]):
    """Batch sampler that, iterated again within an epoch, repeats the batches that haven't been received yet."""

    def __init__(self, batch_sampler: Sampler[list[Key]]) -> None:
        self._batch_sampler = batch_sampler
        self.pending: deque[list[Key]] = deque()
        """Batches that were handed to the workers and haven't been received yet."""
        self._rest: Iterator[list[Key]] = iter(())

    def start_epoch(self) -> None:
        """Begin a new epoch."""
        self.pending.clear()
        self._rest = iter(self._batch_sampler)

    def __len__(self) -> int:
        return len(self._batch_sampler)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[list[Key]]:
        repeated = list(self.pending)
        self.pending.clear()
        for keys in chain(repeated, self._rest):
            self.pending.append(keys)
            yield keys


def _is_worker_failure(error: BaseException) -> bool:
    """Return whether a worker died, in contrast to an error of the data set in a worker."""
    message = str(error)
    if isinstance(error, RuntimeError):
        return message.startswith("DataLoader worker (pid")
    # EOFError, ConnectionError: the worker died while sending a batch. Errors of the data set start with "Caught".
    return not message.startswith("Caught ")


def _kill_workers(batches: Iterator[Any]) -> None:
    for worker in worker_processes(batches):
        worker.kill()


_sigchld: dict[str, Any] = {"waiting": False, "handler": None}
"""Whether a batch is being waited for, and torch's handler of SIGCHLD."""


def _wait_for_batch(batches: Iterator[Any]) -> Any:
    """Return the next batch, or None at the end. Torch raises the death of a worker only here."""
    _sigchld["waiting"] = True
    try:
        if _sigchld["handler"] is not None:
            _sigchld["handler"](signal.SIGCHLD, None)  # a worker may have died before
        return next(batches, None)
    finally:
        _sigchld["waiting"] = False


def _restrict_sigchld_handler() -> None:
    """Make torch's handler of SIGCHLD raise only in `_wait_for_batch`.

    Unrestricted, it raises the death of a worker at any point of the program, for instance within a training step.
    """
    if threading.current_thread() is not threading.main_thread() or _sigchld["handler"] is not None:
        return
    handler = signal.getsignal(signal.SIGCHLD)
    if not callable(handler):  # no worker has been started yet
        return

    def restricted(number: int, frame: FrameType | None) -> None:
        if _sigchld["waiting"]:
            handler(number, frame)

    _sigchld["handler"] = handler
    signal.signal(signal.SIGCHLD, restricted)
