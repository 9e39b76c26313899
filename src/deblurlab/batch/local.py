"""`deblurlab restore`: any number of files, one after the other. While one is restored, the one before is written and
the next is read.
"""

import glob
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from deblurlab.batch.video import restore_video
from deblurlab.errors import UserError, first_sentence
from deblurlab.inference.predictor import Restorer
from deblurlab.inference.tiling import seam_error
from deblurlab.media.images import SUFFIXES
from deblurlab.media.large_images import IN_MEMORY, MAX_PIXELS, LargeImage, LargeImageWriter, open_image
from deblurlab.media.pixels import InMemory, Rows
from deblurlab.media.video import SUFFIXES as VIDEO_SUFFIXES
from deblurlab.runs.untrusted import is_inside

JOURNAL = ".deblurlab.jsonl"
"""In the output folder: what has been restored from what, and how."""


class Job(NamedTuple):
    """A file to restore."""

    source: Path
    target: Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `deblurlab restore` may be told about files."""

    output: Path
    shard: tuple[int, int] = (0, 1)
    side_by_side: bool = False
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    fps_report: bool = False


class _Opened(NamedTuple):
    """A picture, and its pixels: of a small one they are in memory."""

    picture: LargeImage
    rows: Rows


def gather(inputs: Sequence[str], output: Path) -> tuple[list[Job], list[str]]:
    """The files that are meant, in order, and what is wrong with the others: files, folders and patterns. Names and
    subfolders stay; what lies in the output folder isn't taken for input, nor what a link in a folder leads to outside
    of it.
    """
    jobs: dict[Path, Path] = {}
    wrong: list[str] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = [(file, file.relative_to(path)) for file in sorted(path.rglob("*")) if _is_input(file, output)]
        elif path.exists() or not glob.has_magic(given):
            found = [(path, Path(path.name))]
        else:
            files = map(Path, sorted(glob.glob(given, recursive=True)))  # noqa: PTH207 - an absolute pattern is one too
            found = [(file, Path(file.name)) for file in files if _is_input(file, output)]
        if not found and path.is_dir() and path.absolute().is_relative_to(output.absolute()):
            wrong.append(f"{given} lies in the output folder: choose another with -o")
        elif not found:
            wrong.append(f"{given}: there are no images or videos ({', '.join(sorted(SUFFIXES | VIDEO_SUFFIXES))})")
        for file, name in found:
            if path.is_dir() and not is_inside(file, path):
                wrong.append(f"{file} is a link out of {path}: name it by itself to restore it")
                continue
            target = output if _is_file(output) else output / name
            if (target.suffix.lower() in VIDEO_SUFFIXES) != (file.suffix.lower() in VIDEO_SUFFIXES):
                wrong.append(f"{file} can't become {target}: a picture stays a picture, a video a video")
                continue
            if jobs.setdefault(target, file) != file:
                wrong.append(f"{file} would be restored to {target}, as would {jobs[target]}: restore them apart")
    return [Job(source, target) for target, source in jobs.items()], wrong


def restore_files(inputs: Sequence[str], restorer: Restorer, options: Options) -> int:
    """Restore files; a line on standard error for each that can't be. Returns the exit code: 0, or 1 if there is one.

    Raises:
        KeyboardInterrupt: From Ctrl-C; what is written by then is whole.
    """
    jobs, wrong = gather(inputs, options.output)
    number, shards = options.shard
    jobs = jobs[number::shards]
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TimeRemainingColumn(),
    )
    with (
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(2) as pool,
    ):
        work = _Work(restorer, options, console)
        for line in wrong:
            work.complain(line)
        sizes = [job.source.stat().st_size if job.source.is_file() else 0 for job in jobs]
        task = progress.add_task("restoring", total=max(1, sum(sizes)))
        ahead: Future[_Opened | Job | None] | None = None
        writing: Future[None] | None = None
        for i, job in enumerate(jobs):
            opening = ahead or pool.submit(work.open, job)
            ahead = pool.submit(work.open, jobs[i + 1]) if i + 1 < len(jobs) else None
            before = sum(sizes[:i])

            def advance(share: float, before: int = before, size: int = sizes[i]) -> None:
                progress.update(task, completed=before + share * size)

            progress.update(task, description=job.source.name)
            rest = work.restore(job, opening, advance)
            if writing is not None:
                writing.result()
            writing = pool.submit(rest) if rest is not None else None
            advance(1)
        if writing is not None:
            writing.result()
    console.print(work.summary())
    return 1 if work.failures else 0


class _Work:
    """Does jobs, in three steps each, and keeps count."""

    def __init__(self, restorer: Restorer, options: Options, console: Console) -> None:
        self._restorer, self._options, self._console = restorer, options, console
        self._journal = (options.output.parent if _is_file(options.output) else options.output) / JOURNAL
        self._settings = f"{restorer.settings} side_by_side={options.side_by_side}"
        self._seams_told = False
        self.restored: list[Job] = []
        self.before: list[Job] = []
        self.failures: list[str] = []
        self._megapixels = self._busy = 0.0
        self._begun = time.perf_counter()

    def open(self, job: Job) -> "_Opened | Job | None":
        """The first step, ahead of time. A video is opened later; None if it was done before.

        Raises:
            UserError: It can't be restored.
        """
        if not job.source.is_file():
            raise UserError(f"{job.source} {'is no file' if job.source.exists() else 'does not exist'}")
        if job.source.resolve() == job.target.resolve():
            raise UserError(f"{job.source} would be replaced by its restored self: choose another folder with -o")
        if job.target.exists() and not self._options.overwrite:
            if _read(self._journal).get(self._name(job)) == self._record(job):
                return None
            raise UserError(f"{job.target} exists already: --overwrite replaces it")
        if job.source.suffix.lower() in VIDEO_SUFFIXES:
            return job
        picture = open_image(job.source, self._options.max_pixels)
        if picture.width * picture.height > IN_MEMORY:
            return _Opened(picture, picture)
        return _Opened(picture, InMemory(picture.read(picture.height), picture.colours))

    def restore(
        self, job: Job, opening: Future[_Opened | Job | None], advance: Callable[[float], None]
    ) -> Callable[[], None] | None:
        """The second, which computes; what is left is the third, writing."""
        try:
            opened = opening.result()
            if opened is None:
                self.before.append(job)
                return None
            job.target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(opened, Job):
                self._restore_video(job, advance)
                return None
            writer = LargeImageWriter(job.target, opened.picture, 1 + self._options.side_by_side)
        except Exception as error:
            self._failed(job, error)
            return None
        try:
            self._compute(opened, writer, advance)
        except BaseException as error:
            writer.close()
            if not isinstance(error, Exception):
                raise
            self._failed(job, error)
            return None
        return lambda: self._finish(job, writer)

    def _compute(self, opened: _Opened, writer: LargeImageWriter, advance: Callable[[float], None]) -> None:
        picture, rows, begun = opened.picture, 0, time.perf_counter()
        tiling = self._restorer.tiling(picture.height, picture.width)
        for blurred, restored in self._restorer.rows(opened.rows):
            self._busy += time.perf_counter() - begun
            if not tiling.exact and not self._seams_told:
                self._seams_told = True
                told = seam_error(self._restorer.engine, blurred[..., : picture.colours], tiling)
                self.say(f"{picture.path}: {told}")
            writer.write(np.concatenate([blurred, restored], axis=1) if self._options.side_by_side else restored)
            rows += len(blurred)
            del blurred, restored  # or they are held while the next are made
            advance(rows / picture.height)
            begun = time.perf_counter()
        self._megapixels += picture.width * picture.height / 1e6

    def _finish(self, job: Job, writer: LargeImageWriter) -> None:
        try:
            with writer:
                writer.finish()
            self._record_done(job)
        except Exception as error:
            self._failed(job, error)

    def _restore_video(self, job: Job, advance: Callable[[float], None]) -> None:
        try:
            report = restore_video(
                job.source, job.target, self._restorer, side_by_side=self._options.side_by_side, advance=advance,
                max_pixels=self._options.max_pixels,
            )  # fmt: skip
        except Exception as error:
            self._failed(job, error)
            return
        self._busy += report.busy
        self._megapixels += report.megapixels
        if self._options.fps_report:
            self.say(f"{job.source}: {report}")
        if report.broken:
            self.complain(f"{job.source}: {report.broken} of its frames are broken and were left out")
        self._record_done(job)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False)

    def complain(self, line: str) -> None:
        self.failures.append(line)
        self.say(f"deblurlab: {line}")

    def _failed(self, job: Job, error: Exception) -> None:
        line = "out of memory: a smaller --tile needs less" if isinstance(error, MemoryError) else first_sentence(error)
        self.complain(str(error) if isinstance(error, UserError) else f"{job.source} can't be restored: {line}")

    def _record(self, job: Job) -> dict[str, Any]:
        state = job.source.stat()
        made = {"source": job.source.name, "size": state.st_size, "modified": state.st_mtime_ns}
        return {**made, "settings": sha256(self._settings.encode()).hexdigest()}

    def _name(self, job: Job) -> str:
        """Of the target in the journal, which may move together with it."""
        return os.path.relpath(job.target, self._journal.parent)

    def _record_done(self, job: Job) -> None:
        with self._journal.open("a") as file:
            file.write(json.dumps({"target": self._name(job), **self._record(job)}) + "\n")
        self.restored.append(job)

    def summary(self) -> str:
        wall = time.perf_counter() - self._begun
        parts = [f"{len(self.restored)} restored"]
        if self.before:
            parts.append(f"{len(self.before)} done before")
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        line = ", ".join(parts)
        if self._megapixels >= 1:
            each = (
                f"{self._busy / self._megapixels:.2g} s per megapixel, the network busy {100 * self._busy / wall:.0f} %"
            )
            line += f"; {self._megapixels:.1f} megapixels in {wall:.1f} s ({each} of the time)"
        return line


def _is_file(output: Path) -> bool:
    """Whether the name of the output is that of a file."""
    return output.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES and not output.is_dir()


def _is_input(file: Path, output: Path) -> bool:
    return (
        file.suffix.lower() in SUFFIXES | VIDEO_SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
        and not file.absolute().is_relative_to(output.absolute())
    )


def _read(journal: Path) -> dict[str, dict[str, Any]]:
    """What was restored, by target; the last word counts."""
    done: dict[str, dict[str, Any]] = {}
    for line in journal.read_text().splitlines() if journal.is_file() else []:
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # half a line, if it was interrupted
            record = json.loads(line)
            done[record.pop("target")] = record
    return done
