"""Progress on a terminal and in a log."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from deblurlab.callbacks.progress import TrainingProgress
from deblurlab.runs.progress import ProgressLines, progress, track


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test sets."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(ProgressLines.__init__, "__kwdefaults__", {"completed": 0, "clock": lambda: clock.now})
    return clock


def test_a_line_every_half_minute_has_the_share_and_the_time_left(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 seconds per step of 12: lines after 30, 60 and 90 seconds, with 90, 60 and 30 seconds left."""
    for _ in track(range(12), "generating", 12):
        clock.now += 10
    assert capsys.readouterr().err.splitlines() == [
        "generating: 25 %, 0:01:30 left",
        "generating: 50 %, 0:01:00 left",
        "generating: 75 %, 0:00:30 left",
        "generating: 100 %, 0:00:00 left",
    ]


def test_work_of_an_earlier_process_does_not_shorten_the_time_left(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    """10 of 100 steps took 40 seconds, after 50 of another process: the other 40 take 160."""
    lines = ProgressLines("training", 100, completed=50)
    clock.now += 40
    lines(50)  # nothing is done yet, so the time left is unknown
    lines(60)
    lines(61)
    assert capsys.readouterr().err == "training: 60 %, 0:02:40 left\n"


def test_short_and_silent_work_prints_nothing(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "quick", 3)) == ["a", "b", "c"]
    for _ in track(range(3), "silent", 3, disable=True):
        clock.now += 100
    with progress("nothing", 0) as update:
        clock.now += 100
        update(0)
    assert capsys.readouterr() == ("", "")


def test_a_file_name_replaces_the_description_and_cannot_control_the_terminal(
    clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress("restoring", 4) as update:
        clock.now += 30
        update(1, "a\x1b[31m.png")
    assert capsys.readouterr().err == "a\\x1b[31m.png: 25 %, 0:01:30 left\n"


def test_a_terminal_has_a_bar() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    for _ in track(range(4), "[bold]measuring", 4, console=console):
        pass
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[bold]measuring" in text
    assert "100%" in text


def test_a_training_in_a_log_prints_lines(clock: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    """Resumed at step 2 of 10, one step in 30 seconds: 7 are left."""
    trainer = SimpleNamespace(is_global_zero=True, estimated_stepping_batches=10, global_step=2)
    bar = TrainingProgress()
    bar.on_train_start(trainer, None)  # type: ignore[arg-type]
    clock.now, trainer.global_step = clock.now + 30, 3
    bar.on_train_batch_end(trainer, None, {}, None, 0)  # type: ignore[arg-type]
    assert capsys.readouterr().err == "training: 30 %, 0:03:30 left\n"
    bar.teardown(trainer, None, "fit")  # type: ignore[arg-type]
