"""The local record, and the loggers of others."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from deblurlab.loggers import MetricsCSV


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_new_names_become_columns_and_what_was_written_stays(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "metrics.csv"
    first = MetricsCSV(path=str(file))
    first.log_metrics({"loss/l1": 0.5}, 1)
    first.log_metrics({"val/psnr": 30.0}, 2)
    second = MetricsCSV(path=str(file))  # a resumed run
    second.log_metrics({"loss/l1": 0.25}, 3)
    assert [(row["step"], row["loss/l1"], row["val/psnr"]) for row in _rows(file)] == [
        ("1", "0.5", ""), ("2", "", "30.0"), ("3", "0.25", ""),
    ]  # fmt: skip
    assert [path.name for path in file.parent.iterdir()] == ["metrics.csv"]


def test_rewinding_forgets_what_will_be_done_again(tmp_path: Path) -> None:
    logger = MetricsCSV(path=str(tmp_path / "metrics.csv"))
    logger.rewind(5)  # nothing there yet
    for step in (1, 2, 3):
        logger.log_metrics({"loss/l1": 1.0}, step)
    logger.rewind(2)
    assert [row["step"] for row in _rows(tmp_path / "metrics.csv")] == ["1", "2"]


def test_tensorboard_gets_curves_and_pictures_beside_the_local_record(train: Callable[..., Path]) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train("logger=tensorboard")
    events = accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"loss/l1", "val/psnr", "val/ssim"} <= set(tags["scalars"])
    assert tags["images"] == ["val/validation/000000"] or tags["images"] == ["val/validation-000000"]
    assert [event.step for event in events.Scalars("loss/l1")] == [1, 2, 3]
    assert (run / "metrics.csv").exists()


def test_wandb_works_offline_and_without_an_account(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    run = train("logger=wandb", "logger.wandb.offline=true")
    folders = list((run / "wandb").glob("offline-run-*"))
    assert len(folders) == 1
    assert list(folders[0].glob("run-*.wandb"))
    assert list((folders[0] / "files" / "media").rglob("*.png"))
    assert (run / "metrics.csv").exists()
