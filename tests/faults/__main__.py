"""Injects faults into small trainings and prints what became of them: `python tests/faults [--times N] [-o table.md]`.

Each training is stopped by a fault, started again with the same command until it has finished, and compared with one
that ran through.
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
from injection import MOMENTS, kill_a_worker, send, spoil_the_gradient
from trainings import EVERY, VALIDATION, difference, finish, outcome, run, words

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.errors import UserError
from deblurlab.runs.folder import Run


class Trial(NamedTuple):
    """One training that a fault was put into."""

    recovered: bool
    lost: int
    """Steps that were done again."""
    difference: str | None
    """Where it first differs from the one that ran through."""
    said: str = ""


class Row(NamedTuple):
    fault: str
    trials: list[Trial]
    most: int
    """Steps that may have to be done again."""
    identical: bool = True
    """Whether it has to be the same to the last bit."""

    @property
    def good(self) -> bool:
        same = (not self.identical or t.difference is None for t in self.trials)
        return all(same) and all(t.recovered and t.lost <= self.most for t in self.trials)

    def __str__(self) -> str:
        same = sum(t.difference is None for t in self.trials)
        identical = ("yes" if same == len(self.trials) else f"{same} of {len(self.trials)}") if self.identical else "-"
        recovered = sum(t.recovered for t in self.trials)
        lost = max((t.lost for t in self.trials), default=0)
        return f"| {self.fault} | {len(self.trials)} | {recovered} | {lost} | {identical} |"


class Faults:
    """Trainings in a folder, each kind once without a fault."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._through: dict[tuple[str, int, int], tuple[dict, dict]] = {}
        trainings.make_data(folder)

    def through(self, kind: str, workers: int, processes: int) -> tuple[dict, dict]:
        """The outcome of a training without a fault, and how often each moment came."""
        key = kind, workers, processes
        if key not in self._through:
            name = f"{kind}-{workers}-{processes}"
            codes = run(self._folder, words(kind, name, workers=workers, processes=processes), processes=processes)
            if any(codes):
                raise SystemExit((self._folder / f"{name}.log").read_text())
            counts = json.loads((self._folder / f"{name}.moments").read_text())
            self._through[key] = outcome(self._folder / "runs" / name), counts
        return self._through[key]

    def interrupted(self, number: signal.Signals, moment: str, which: random.Random, *, kind: str = "paired",
                    workers: int = 0, processes: int = 1, after: int = 0,
                    then: Callable[[Run], object] = lambda run: None) -> Trial:  # fmt: skip
        """A training that gets a signal at a random one of these moments, not one of the first `after`; `then` does
        more harm while it is down."""
        expected, counts = self.through(kind, workers, processes)
        command, folder = self._command(kind, workers, processes)
        note = self._folder / f"{folder.name}.step"
        act = moment, which.randint(1 + after, counts[moment]), send(number, note)
        culprit = which.randrange(processes) if moment in _EVERYWHERE else 0
        codes = run(self._folder, command, processes=processes, act=act, culprit=culprit)
        # Where nothing is under way, as between training and test, a signal ends a process in its own way.
        if codes[culprit] not in (-number, 128 + number):
            return Trial(False, 0, "", f"{moment}: exit {codes} after {number.name}")
        then(Run(self._folder / folder))
        stopped, began = int(note.read_text()), _newest_step(Run(self._folder / folder))
        return self._again(command, folder, expected, processes, max(0, stopped - began))

    def harmed(self, act: tuple[str, int, object], *, workers: int = 0, policy: str = "stop") -> Trial:
        """A training that has to get over something without being started again."""
        expected, counts = self.through("paired", workers, 1)
        command, folder = self._command("paired", workers, 1, (f"callbacks.nonfinite.policy={policy}",))
        codes = run(self._folder, command, act=act)  # type: ignore[arg-type]
        trial = self._judged(folder, codes, expected, 0)
        if not trial.recovered:
            return trial
        steps = json.loads((self._folder / f"{folder.name}.moments").read_text())["a batch begins"]
        trial = trial._replace(lost=steps - counts["a batch begins"])
        last = read_checkpoint(Run(self._folder / folder).last_checkpoint)
        noticed = {"stop": True, "skip": last["callbacks"]["NonFinite"]["skipped"] == 1,
                   "rollback": last["callbacks"]["NonFinite"]["returns"] == 1}[policy]  # fmt: skip
        sound = all(value.isfinite().all() for value in last["state_dict"].values())
        return trial._replace(recovered=noticed and sound, said="" if noticed else f"{act[:2]} went unnoticed")

    def at_random_times(self, which: random.Random) -> Trial:
        """Killed from outside, wherever it is."""
        expected, _ = self.through("paired", 0, 1)
        longest = 4.0
        while True:
            command, folder = self._command("paired", 0, 1)
            pid = trainings.start(self._folder, command)
            time.sleep(which.uniform(0.3, longest))
            trainings.os.kill(pid, signal.SIGKILL)
            if finish(pid) == [-signal.SIGKILL]:
                break
            longest *= 0.8  # it had finished
        rows = Run(self._folder / folder).metrics_file
        done = max(_rows(rows), default=0) if rows.is_file() else 0
        lost = max(0, done - _newest_step(Run(self._folder / folder)))
        return self._again(command, folder, expected, 1, lost)

    def on_a_full_disk(self) -> Trial:
        """The folder of the checkpoints is a file system that holds one and a half of them."""
        expected, _ = self.through("paired", 0, 1)
        command, folder = self._command("paired", 0, 1)
        place = Run(self._folder / folder).checkpoints
        size = int(2.5 * Run(self._folder / "runs" / "paired-0-1").last_checkpoint.stat().st_size)
        with _mounted(place, size):
            codes = run(self._folder, command)
            said = (self._folder / f"{folder.name}.log").read_text()
            told = codes == [1] and "it needs" in said and "are free" in said
            kept = _newest_step(Run(self._folder / folder))
            subprocess.run(["mount", "-o", f"remount,size={4 * size}", place], check=True)
            trial = self._again(command, folder, expected, 1, max(0, EVERY - kept % EVERY) % EVERY)
        return trial if told else Trial(False, 0, "", said[-300:])

    def _command(self, kind: str, workers: int, processes: int, more: tuple[str, ...] = ()) -> tuple[list[str], Path]:
        self._number += 1
        name = f"trial-{self._number}"
        return words(kind, name, workers=workers, processes=processes, more=more), Path("runs") / name

    def _again(self, command: list[str], folder: Path, expected: dict, processes: int, lost: int) -> Trial:
        return self._judged(folder, run(self._folder, command, processes=processes), expected, lost)

    def _judged(self, folder: Path, codes: list[int], expected: dict, lost: int) -> Trial:
        if any(codes):
            log = (self._folder / f"{folder.name}.log").read_text().splitlines()
            said = "\n".join(line for line in log if "site-packages" not in line)
            return Trial(False, lost, "", f"exit {codes}: {said[-2000:]}")
        return Trial(True, lost, difference(expected, outcome(self._folder / folder)))


_EVERYWHERE = ("a batch begins", "between the players", "a gradient is there", "a batch ends")
"""Moments that come in every process."""


def _rows(metrics: Path) -> list[int]:
    """The steps that a curve has; its last row may be half written."""
    with metrics.open() as lines:
        return [int(row["step"]) for row in csv.DictReader(lines) if (row.get("step") or "").isdigit()]


def _newest_step(run: Run) -> int:
    steps = []
    for file in (run.last_checkpoint, run.previous_checkpoint, run.best_checkpoint):
        try:
            steps.append(int(read_checkpoint(file)["global_step"]))
        except UserError:
            continue
    return max(steps, default=0)


def _flip(which: random.Random) -> Callable[[Run], object]:
    def flip(run: Run) -> None:
        data = bytearray(run.last_checkpoint.read_bytes())
        data[which.randrange(len(data))] ^= 1 << which.randrange(8)
        run.last_checkpoint.write_bytes(data)

    return flip


def _cut(which: random.Random) -> Callable[[Run], object]:
    return lambda run: trainings.os.truncate(run.last_checkpoint, which.randrange(run.last_checkpoint.stat().st_size))


@contextmanager
def _mounted(place: Path, size: int) -> Iterator[None]:
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def rows(faults: Faults, times: int) -> Iterator[Row]:
    """The table; `times` is how often a training is killed at a random batch."""
    long, few, which = times >= 10, max(1, times // 10), random.Random(0)
    kill, moments = signal.SIGKILL, [_EVERYWHERE[i % len(_EVERYWHERE)] for i in range(times)]
    yield Row("SIGKILL at a random batch", [faults.interrupted(kill, m, which) for m in moments], EVERY)
    yield Row("SIGKILL from outside, at a random time", [faults.at_random_times(which) for _ in range(few)], EVERY)
    for moment in MOMENTS if long else ():
        yield Row(f"SIGKILL when: {moment}", [faults.interrupted(kill, moment, which) for _ in range(2)], EVERY)
    some = [_EVERYWHERE[i % 4] for i in range(few)] + ["validation", "a checkpoint is half written"] * long
    kinds = (("two processes with two workers each, without pairs", "cycle", 2, 2), ("two workers", "paired", 2, 1),
             ("without pairs", "cycle", 0, 1), ("two processes", "paired", 0, 2))  # fmt: skip
    for name, kind, workers, processes in kinds if long else kinds[:1]:
        options = {"kind": kind, "workers": workers, "processes": processes}
        trials = [faults.interrupted(kill, moment, which, **options) for moment in some]  # type: ignore[arg-type]
        yield Row(f"SIGKILL, {name}", trials, EVERY)
    for number in (signal.SIGTERM, signal.SIGINT) if long else (signal.SIGTERM,):
        chosen = MOMENTS if long else ("between the players", "validation")
        yield Row(f"{number.name} at every phase", [faults.interrupted(number, m, which) for m in chosen], 0)
    if long:
        two = [faults.interrupted(signal.SIGTERM, m, which, workers=2, processes=2) for m in some]
        yield Row("SIGTERM to one of two processes", two, 0)
    ends = "a batch ends"
    flips = [faults.interrupted(kill, ends, which, after=VALIDATION, then=_flip(which)) for _ in range(few)]
    yield Row("a bit of last.ckpt flipped, after SIGKILL", flips, 2 * EVERY)
    if long:
        cuts = [faults.interrupted(kill, ends, which, after=VALIDATION, then=_cut(which)) for _ in range(few)]
        yield Row("last.ckpt cut short, after SIGKILL", cuts, 2 * EVERY)
    if trainings.os.geteuid() == 0:
        yield Row("a full disk, then room again", [faults.on_a_full_disk()], EVERY)
    dead = [faults.harmed((_EVERYWHERE[0], which.randint(2, 9), kill_a_worker), workers=2) for _ in range(few)]
    yield Row("a loader's worker killed", dead, 0)
    for policy, first, most in (("skip", 2, 0), ("rollback", 18, EVERY)) if long else (("skip", 2, 0),):
        acts = [(_EVERYWHERE[2], which.randint(first, 30), spoil_the_gradient) for _ in range(few)]
        spoilt = [faults.harmed(act, policy=policy) for act in acts]
        yield Row(f"NaN in a gradient, policy {policy}", spoilt, most, identical=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="trainings that are killed at a random moment")
    parser.add_argument("-o", "--output", type=Path, help="where the table goes, beside the terminal")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bad, lines = False, [
        "| fault | times | recovered | steps done again, at most | the same to the last bit |",
        "| --- | ---: | ---: | ---: | --- |",
    ]  # fmt: skip
    print(*lines, sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(Faults(Path(folder)), options.times):
            lines.append(str(row))
            print(row, flush=True)
            bad = bad or not row.good
            for trial in row.trials if not row.good else ():
                print(trial, file=sys.stderr)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
