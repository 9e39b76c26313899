"""Injects faults into small trainings and prints a table of the results.

    python tests/faults [--times N] [-o table.md]

Each training is stopped by a fault, resumed with the same command, and compared with an uninterrupted training.
"""

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
import trainings
from injection import MOMENTS, kill_worker, send_signal, set_gradients_to_nan
from trainings import EVERY, VALIDATION, arguments, difference, outcome, run, wait_for

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.errors import UserError
from deblurlab.runs.folder import Run


class Trial(NamedTuple):
    """One training with an injected fault."""

    recovered: bool
    repeated: int
    """Number of repeated steps."""
    difference: str | None
    """First difference from the uninterrupted training."""
    message: str = ""


class Row(NamedTuple):
    """Row of the table."""

    fault: str
    trials: list[Trial]
    max_repeated: int
    """Maximum number of steps that may be repeated."""
    identical: bool = True
    """Whether the result must be identical to that of the uninterrupted training."""

    @property
    def passed(self) -> bool:
        """Return whether all trials meet the requirements."""
        identical = (not self.identical or t.difference is None for t in self.trials)
        return all(identical) and all(t.recovered and t.repeated <= self.max_repeated for t in self.trials)

    def __str__(self) -> str:
        count, same = len(self.trials), sum(t.difference is None for t in self.trials)
        identical = ("yes" if same == count else f"{same} of {count}") if self.identical else "-"
        recovered = sum(t.recovered for t in self.trials)
        repeated = max((t.repeated for t in self.trials), default=0)
        return f"| {self.fault} | {count} | {recovered} | {repeated} | {identical} |"


class Faults:
    """Trainings with faults in a folder, and one uninterrupted training of each kind."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._uninterrupted: dict[tuple[str, int, int], tuple[dict, dict]] = {}
        trainings.make_data(folder)

    def uninterrupted(self, kind: str, workers: int, processes: int) -> tuple[dict, dict]:
        """Return the outcome of a training without a fault, and how often each moment occurred."""
        key = kind, workers, processes
        if key not in self._uninterrupted:
            name = f"{kind}-{workers}-{processes}"
            command = arguments(kind, name, workers=workers, processes=processes)
            codes = run(self._folder, command, processes=processes)
            if any(codes):
                raise SystemExit((self._folder / f"{name}.log").read_text())
            counts = json.loads((self._folder / f"{name}.moments").read_text())
            self._uninterrupted[key] = outcome(self._folder / "runs" / name), counts
        return self._uninterrupted[key]

    def interrupted(self, number: signal.Signals, moment: str, which: random.Random, *, kind: str = "paired",
                    workers: int = 0, processes: int = 1, after: int = 0,
                    then: Callable[[Run], object] = lambda run: None) -> Trial:  # fmt: skip
        """Send a signal at a random occurrence of a moment, after the first `after`; run `then`; resume."""
        expected, counts = self.uninterrupted(kind, workers, processes)
        command, folder = self._command(kind, workers, processes)
        note = self._folder / f"{folder.name}.step"
        act = moment, which.randint(1 + after, counts[moment]), send_signal(number, note)
        rank = which.randrange(processes) if moment in _IN_ALL_PROCESSES else 0
        codes = run(self._folder, command, processes=processes, act=act, acting_rank=rank)
        # Between training and test no handler is installed, and the signal itself terminates the process.
        if codes[rank] not in (-number, 128 + number):
            return Trial(False, 0, "", f"{moment}: exit {codes} after {number.name}")
        then(Run(self._folder / folder))
        stopped, resumed = int(note.read_text()), _newest_step(Run(self._folder / folder))
        return self._resume(command, folder, expected, processes, max(0, stopped - resumed))

    def disturbed(self, act: tuple[str, int, object], *, workers: int = 0, policy: str = "stop") -> Trial:
        """Disturb a training that must recover without being restarted."""
        expected, counts = self.uninterrupted("paired", workers, 1)
        command, folder = self._command("paired", workers, 1, (f"callbacks.nonfinite.policy={policy}",))
        codes = run(self._folder, command, act=act)  # type: ignore[arg-type]
        trial = self._compare(folder, codes, expected, 0)
        if not trial.recovered:
            return trial
        steps = json.loads((self._folder / f"{folder.name}.moments").read_text())["a batch starts"]
        trial = trial._replace(repeated=steps - counts["a batch starts"])
        last = read_checkpoint(Run(self._folder / folder).last_checkpoint)
        detected = {"stop": True, "skip": last["callbacks"]["NonFinite"]["skipped"] == 1,
                   "rollback": last["callbacks"]["NonFinite"]["returns"] == 1}[policy]  # fmt: skip
        finite = all(value.isfinite().all() for value in last["state_dict"].values())
        message = "" if detected else f"{act[:2]} was not detected"
        return trial._replace(recovered=detected and finite, message=message)

    def killed_at_random_time(self, which: random.Random) -> Trial:
        """Kill a training from outside at a random time."""
        expected, _ = self.uninterrupted("paired", 0, 1)
        longest = 4.0
        while True:
            command, folder = self._command("paired", 0, 1)
            pid = trainings.start(self._folder, command)
            time.sleep(which.uniform(0.3, longest))
            trainings.os.kill(pid, signal.SIGKILL)
            if wait_for(pid) == [-signal.SIGKILL]:
                break
            longest *= 0.8  # it had finished
        metrics = Run(self._folder / folder).metrics_file
        done = max(_logged_steps(metrics), default=0) if metrics.is_file() else 0
        repeated = max(0, done - _newest_step(Run(self._folder / folder)))
        return self._resume(command, folder, expected, 1, repeated)

    def on_full_disk(self) -> Trial:
        """Train with a file system for the checkpoints that holds two and a half of them; enlarge it; resume."""
        expected, _ = self.uninterrupted("paired", 0, 1)
        command, folder = self._command("paired", 0, 1)
        checkpoints = Run(self._folder / folder).checkpoints
        size = int(2.5 * Run(self._folder / "runs" / "paired-0-1").last_checkpoint.stat().st_size)
        with _mounted(checkpoints, size):
            codes = run(self._folder, command)
            log = (self._folder / f"{folder.name}.log").read_text()
            reported = codes == [1] and "it needs" in log and "are free" in log
            saved = _newest_step(Run(self._folder / folder))
            subprocess.run(["mount", "-o", f"remount,size={4 * size}", checkpoints], check=True)
            trial = self._resume(command, folder, expected, 1, max(0, EVERY - saved % EVERY) % EVERY)
        return trial if reported else Trial(False, 0, "", log[-300:])

    def _command(self, kind: str, workers: int, processes: int, more: tuple[str, ...] = ()) -> tuple[list[str], Path]:
        self._number += 1
        name = f"trial-{self._number}"
        return arguments(kind, name, workers=workers, processes=processes, more=more), Path("runs") / name

    def _resume(self, command: list[str], folder: Path, expected: dict, processes: int, repeated: int) -> Trial:
        return self._compare(folder, run(self._folder, command, processes=processes), expected, repeated)

    def _compare(self, folder: Path, codes: list[int], expected: dict, repeated: int) -> Trial:
        if any(codes):
            log = (self._folder / f"{folder.name}.log").read_text().splitlines()
            message = "\n".join(line for line in log if "site-packages" not in line)
            return Trial(False, repeated, "", f"exit {codes}: {message[-2000:]}")
        return Trial(True, repeated, difference(expected, outcome(self._folder / folder)))


_IN_ALL_PROCESSES = ("a batch starts", "an update starts", "gradients are ready", "a batch ends")
"""Moments that occur in all processes."""


def _logged_steps(metrics: Path) -> list[int]:
    """Return the steps in metrics.csv, whose last row may be incomplete."""
    with metrics.open() as lines:
        return [int(row["step"]) for row in csv.DictReader(lines) if (row.get("step") or "").isdigit()]


def _newest_step(run: Run) -> int:
    """Return the step of the newest readable checkpoint, or 0."""
    steps = []
    for file in (run.last_checkpoint, run.previous_checkpoint, run.best_checkpoint):
        try:
            steps.append(int(read_checkpoint(file)["global_step"]))
        except UserError:
            continue
    return max(steps, default=0)


def _flip_bit(which: random.Random) -> Callable[[Run], object]:
    """Return a function that flips a random bit of last.ckpt."""

    def flip(run: Run) -> None:
        data = bytearray(run.last_checkpoint.read_bytes())
        data[which.randrange(len(data))] ^= 1 << which.randrange(8)
        run.last_checkpoint.write_bytes(data)

    return flip


def _truncate(which: random.Random) -> Callable[[Run], object]:
    """Return a function that truncates last.ckpt at a random length."""
    return lambda run: trainings.os.truncate(run.last_checkpoint, which.randrange(run.last_checkpoint.stat().st_size))


@contextmanager
def _mounted(folder: Path, size: int) -> Iterator[None]:
    """Mount a file system of `size` bytes at a folder."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def rows(faults: Faults, times: int) -> Iterator[Row]:
    """Yield the rows of the table; `times` trainings are killed at a random batch. 10 or more give the long table."""
    long, few, which = times >= 10, max(1, times // 10), random.Random(0)
    kill, moments = signal.SIGKILL, [_IN_ALL_PROCESSES[i % len(_IN_ALL_PROCESSES)] for i in range(times)]
    yield Row("SIGKILL at a random batch", [faults.interrupted(kill, m, which) for m in moments], EVERY)
    yield Row(
        "SIGKILL from outside, at a random time", [faults.killed_at_random_time(which) for _ in range(few)], EVERY
    )
    for moment in MOMENTS if long else ():
        yield Row(f"SIGKILL when {moment}", [faults.interrupted(kill, moment, which) for _ in range(2)], EVERY)
    selected = [_IN_ALL_PROCESSES[i % 4] for i in range(few)] + [
        "a validation batch ends",
        "a checkpoint is half written",
    ] * long
    kinds = (("2 processes with 2 workers each, unpaired", "cycle", 2, 2), ("2 workers", "paired", 2, 1),
             ("unpaired", "cycle", 0, 1), ("2 processes", "paired", 0, 2))  # fmt: skip
    for name, kind, workers, processes in kinds if long else kinds[:1]:
        options = {"kind": kind, "workers": workers, "processes": processes}
        trials = [faults.interrupted(kill, moment, which, **options) for moment in selected]  # type: ignore[arg-type]
        yield Row(f"SIGKILL, {name}", trials, EVERY)
    for number in (signal.SIGTERM, signal.SIGINT) if long else (signal.SIGTERM,):
        chosen = MOMENTS if long else ("an update starts", "a validation batch ends")
        yield Row(f"{number.name} at every moment", [faults.interrupted(number, m, which) for m in chosen], 0)
    if long:
        two = [faults.interrupted(signal.SIGTERM, m, which, workers=2, processes=2) for m in selected]
        yield Row("SIGTERM to one of 2 processes", two, 0)
    end = "a batch ends"
    flips = [faults.interrupted(kill, end, which, after=VALIDATION, then=_flip_bit(which)) for _ in range(few)]
    yield Row("SIGKILL, then a bit of last.ckpt flipped", flips, 2 * EVERY)
    if long:
        cuts = [faults.interrupted(kill, end, which, after=VALIDATION, then=_truncate(which)) for _ in range(few)]
        yield Row("SIGKILL, then last.ckpt truncated", cuts, 2 * EVERY)
    if trainings.os.geteuid() == 0:
        yield Row("disk full, then enlarged", [faults.on_full_disk()], EVERY)
    killed = [faults.disturbed((_IN_ALL_PROCESSES[0], which.randint(2, 9), kill_worker), workers=2) for _ in range(few)]
    yield Row("a worker of the loader killed", killed, 0)
    for policy, first, max_repeated in (("skip", 2, 0), ("rollback", 18, EVERY)) if long else (("skip", 2, 0),):
        acts = [(_IN_ALL_PROCESSES[2], which.randint(first, 30), set_gradients_to_nan) for _ in range(few)]
        disturbed = [faults.disturbed(act, policy=policy) for act in acts]
        yield Row(f"NaN in a gradient, policy {policy}", disturbed, max_repeated, identical=False)


def main() -> int:
    """Print the table; return 1 if a row fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--times", type=int, default=50, help="trainings killed at a random batch; 10 or more give the long table"
    )
    parser.add_argument("-o", "--output", type=Path, help="file for the table")
    options = parser.parse_args()
    torch.set_num_threads(1)
    failed, lines = False, [
        "| fault | runs | recovered | repeated steps, maximum | bit-identical |",
        "| --- | ---: | ---: | ---: | --- |",
    ]  # fmt: skip
    print(*lines, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Faults(Path(folder)), options.times):
            lines.append(str(row))
            print(row, flush=True)
            failed = failed or not row.passed
            for trial in row.trials if not row.passed else ():
                print(trial, file=sys.stderr)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
