"""Restoration of files on this machine by `deblurlab restore`. Reading, computing and writing overlap."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import NamedTuple

import numpy as np
from rich.console import Console

from deblurlab.batch.inputs import FileTask, check_output, describe_unsupported, find_inputs, is_file_name
from deblurlab.batch.journal import Journal
from deblurlab.batch.messages import failure_message
from deblurlab.batch.options import Options
from deblurlab.batch.video import restore_video
from deblurlab.errors import UserError, printable
from deblurlab.inference.predictor import Restorer
from deblurlab.inference.tiling import seam_error
from deblurlab.media.large_image_writer import IN_MEMORY, LargeImageWriter
from deblurlab.media.large_images import LargeImage, open_image
from deblurlab.media.pixels import InMemory, Rows
from deblurlab.media.video import SUFFIXES as VIDEO_SUFFIXES
from deblurlab.media.video import content_error
from deblurlab.runs.progress import progress

Advance = Callable[[float], None]
"""Receives the finished fraction of a file, 0 to 1."""


class _Image(NamedTuple):
    image: LargeImage
    rows: Rows
    """Rows of the image; in memory if it is small."""


class _Other(Enum):
    """Inputs that are not opened in advance."""

    VIDEO = 1
    FINISHED = 2
    """The journal contains the target."""


_Input = _Image | _Other


def restore_files(inputs: Sequence[str], restorer: Restorer, options: Options) -> int:
    """Restore files; print one line on standard error for each failure.

    While one file is restored, the next is read and the previous one is written.

    Returns:
        The exit code: 1 if a file failed or is of a kind that can't be restored, otherwise 0.

    Raises:
        KeyboardInterrupt: After Ctrl-C; all written files are complete.
        UserError: The output is a file of a kind that can't be written.
    """
    check_output(options.output)
    found = find_inputs(inputs, options.output)
    tasks = found.tasks[options.shard[0] :: options.shard[1]]
    sizes = [task.source.stat().st_size if task.source.is_file() else 0 for task in tasks]
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    total = max(1, sum(sizes))
    with (
        progress("restoring", total, console=console, disable=options.verbosity < 0) as update,
        ThreadPoolExecutor(2) as pool,
    ):
        work = _FileRestorer(restorer, options, console)
        work.unsupported = found.unsupported
        for error in found.errors:
            work.report_failure(error)
        following: Future[_Input] | None = None
        writing: Future[None] | None = None
        for i, task in enumerate(tasks):
            opening = following or pool.submit(work.open, task)
            following = pool.submit(work.open, tasks[i + 1]) if i + 1 < len(tasks) else None

            def advance(
                fraction: float, before: int = sum(sizes[:i]), size: int = sizes[i], name: str = task.source.name
            ) -> None:
                update(before + fraction * size, name)

            advance(0)
            write = work.restore(task, opening, advance)
            if writing is not None:
                writing.result()
            writing = pool.submit(write) if write is not None else None
            advance(1)
        if writing is not None:
            writing.result()
    work.print_note(work.summary())
    return 1 if work.failures or work.unsupported else 0


class _FileRestorer:
    """Restoration of files in three steps (open, restore, write), with counts of the results."""

    def __init__(self, restorer: Restorer, options: Options, console: Console) -> None:
        self._restorer, self._options, self._console = restorer, options, console
        folder = options.output.parent if is_file_name(options.output) else options.output
        self._journal = Journal(folder, f"{restorer.settings} side_by_side={options.side_by_side}")
        self._journal_error = ""
        self._seam_error_printed = False
        self.restored = self.skipped = self.failures = 0
        self.unsupported = Counter[str]()
        """Number of images and videos of kinds that can't be restored, by suffix."""
        self._megapixels = self._busy = 0.0
        self._start = time.perf_counter()

    def open(self, task: FileTask) -> _Input:
        """Check a task and open its image: the first step.

        Raises:
            UserError: The file can't be restored.
        """
        if not task.source.is_file():
            raise UserError(f"{task.source} {'is not a file' if task.source.exists() else 'does not exist'}")
        if task.source.resolve() == task.target.resolve():
            raise UserError(f"{task.source} would be overwritten by the restored file: choose another folder with -o")
        if task.target.exists() and not self._options.overwrite:
            if self._journal.contains(task):
                return _Other.FINISHED
            raise UserError(f"{task.target} exists already, not from these settings: --overwrite replaces it")
        if task.source.suffix.lower() in VIDEO_SUFFIXES:
            if message := content_error(task.source):  # FFmpeg would read AVIF as a video of one frame
                raise UserError(message)
            return _Other.VIDEO
        image = open_image(task.source, self._options.max_pixels)
        large = image.width * image.height > IN_MEMORY
        return _Image(image, image if large else InMemory(image.read(image.height), image.colours))

    def restore(self, task: FileTask, opening: Future[_Input], advance: Advance) -> Callable[[], None] | None:
        """Compute the restored pixels: the second step. Return the third step, which writes them, if there is one."""
        try:
            opened = opening.result()
            if opened is _Other.FINISHED:
                self.skipped += 1
                self.print_note(f"{task.source}: restored before: {task.target}", verbosity=1)
                return None
            task.target.parent.mkdir(parents=True, exist_ok=True)
            if opened is _Other.VIDEO:
                self._restore_video(task, advance)
                return None
            writer = LargeImageWriter(task.target, opened.image, 1 + self._options.side_by_side)
        except Exception as error:
            self._fail(task, error)
            return None
        try:
            self._compute(opened, writer, advance)
        except BaseException as error:
            writer.close()
            if not isinstance(error, Exception):
                raise
            self._fail(task, error)
            return None
        return lambda: self._write(task, writer)

    def _compute(self, opened: _Image, writer: LargeImageWriter, advance: Advance) -> None:
        image, rows, start = opened.image, 0, time.perf_counter()
        tiling = self._restorer.tiling(image.height, image.width)
        for blurred, restored in self._restorer.rows(opened.rows):
            self._busy += time.perf_counter() - start
            if not tiling.exact and not self._seam_error_printed:
                self._seam_error_printed = True
                engine = self._restorer.engine.for_images(blurred.dtype)
                self.print_note(f"{image.path}: {seam_error(engine, blurred[..., : image.colours], tiling)}")
            writer.write(np.concatenate([blurred, restored], axis=1) if self._options.side_by_side else restored)
            rows += len(blurred)
            del blurred, restored  # frees their memory before the next rows are computed
            advance(rows / image.height)
            start = time.perf_counter()
        self._megapixels += image.width * image.height / 1e6

    def _write(self, task: FileTask, writer: LargeImageWriter) -> None:
        try:
            with writer:
                writer.finish()
            self._finish(task, writer.not_kept)
        except Exception as error:
            self._fail(task, error)

    def _restore_video(self, task: FileTask, advance: Advance) -> None:
        report = restore_video(
            task.source,
            task.target,
            self._restorer,
            side_by_side=self._options.side_by_side,
            max_pixels=self._options.max_pixels,
            advance=advance,
        )
        self._busy += report.busy
        self._megapixels += report.megapixels
        if self._options.fps_report:
            self.print_line(f"{task.source}: {report}")
        for problem in report.problems:
            self.report_failure(f"{task.source}: {problem}")
        self._finish(task, report.not_kept)

    def _finish(self, task: FileTask, not_kept: Sequence[str]) -> None:
        self.restored += 1
        self.print_note(f"{task.source}: restored: {task.target}", verbosity=1)
        if not_kept:
            self.print_note(f"{task.source}: not kept: {', '.join(not_kept)}")
        try:
            self._journal.add(task, not_kept)
        except UserError as error:
            if not self._journal_error:
                self._journal_error = str(error)
                self.print_line(f"deblurlab: {error}")

    def _fail(self, task: FileTask, error: Exception) -> None:
        self.report_failure(failure_message(task.source, error))

    def report_failure(self, message: str) -> None:
        """Count and print a failure."""
        self.failures += 1
        self.print_line(f"deblurlab: {message}")

    def print_note(self, line: str, *, verbosity: int = 0) -> None:
        """Print a line that isn't about a failure, from a verbosity on."""
        if self._options.verbosity >= verbosity:
            self.print_line(line)

    def print_line(self, line: str) -> None:
        """Print a line that may have names of files with any characters."""
        self._console.print(printable(line, len(line)), markup=False)

    def summary(self) -> str:
        """Return the counts and the output, and the time if at least one megapixel was restored."""
        counts = {"restored": self.restored, "skipped": self.skipped, "failed": self.failures}
        line = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "restored")
        if self.unsupported:
            line += f", {describe_unsupported(self.unsupported)}"
        line += f": {self._options.output}" + "/" * (not is_file_name(self._options.output))
        if self._megapixels < 1:
            return line
        wall = time.perf_counter() - self._start
        speed = f"{self._busy / self._megapixels:.2g} s per megapixel, network busy {100 * self._busy / wall:.0f} %"
        return f"{line}; {self._megapixels:.1f} megapixels in {wall:.1f} s ({speed} of the time)"
