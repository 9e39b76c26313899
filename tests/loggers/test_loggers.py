"""CSV, TensorBoard and W&B loggers."""

import csv
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deblurlab.errors import UserError
from deblurlab.loggers.csv import MetricsCSV
from deblurlab.loggers.wandb import WandB
from deblurlab.training import PairedRestoration
from support import SMALL


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_new_names_become_columns_and_rows_stay(tmp_path: Path) -> None:
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


def test_rewind_deletes_later_rows(tmp_path: Path) -> None:
    logger = MetricsCSV(path=str(tmp_path / "metrics.csv"))
    logger.rewind(5)  # no file yet
    for step in (1, 2, 3):
        logger.log_metrics({"loss/l1": 1.0}, step)
    logger.rewind(2)
    assert [row["step"] for row in _rows(tmp_path / "metrics.csv")] == ["1", "2"]


def test_rewind_adds_the_row_that_a_killed_training_did_not_write(tmp_path: Path) -> None:
    """The checkpoint of step 2 was written before the step's row."""
    logger = MetricsCSV(path=str(tmp_path / "metrics.csv"))
    logger.log_metrics({"loss/l1": 1.0}, 1)
    for _ in range(2):
        logger.rewind(2, logged={"loss/l1": 2.0, "own": 3.0})
        rows = [(row["step"], row["loss/l1"], row["own"]) for row in _rows(tmp_path / "metrics.csv")]
        assert rows == [("1", "1.0", ""), ("2", "2.0", "3.0")]


def test_columns_of_a_deleted_run_are_not_kept(tmp_path: Path) -> None:
    """`fresh=true` deletes the run's folder after the loggers were built."""
    file = tmp_path / "metrics.csv"
    MetricsCSV(path=str(file)).log_metrics({"loss/l1": 0.5, "epoch": 0}, 1)
    logger = MetricsCSV(path=str(file))
    file.unlink()
    logger.log_metrics({"loss/mse": 0.25, "epoch": 0}, 1)
    assert _rows(file) == [{"step": "1", "epoch": "0", "loss/mse": "0.25"}]


def test_tensorboard_gets_curves_and_images(train: Callable[..., Path]) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train("logger=tensorboard")
    events = accumulator.EventAccumulator(str(run / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"loss/l1", "val/psnr", "val/ssim"} <= set(tags["scalars"])
    assert tags["images"] == ["val/validation-000000"]
    assert [event.step for event in events.Scalars("loss/l1")] == [1, 2, 3]
    assert (run / "metrics.csv").exists()


def _records(file: Path) -> Iterator[Any]:
    """Yield the records of W&B's offline file, a LevelDB log of protocol buffers."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, offset, part = file.read_bytes(), 7, b""
    assert data.startswith(b":W&B")
    while offset + 7 <= len(data):
        left = 32768 - offset % 32768
        if left < 7:
            offset += left
            continue
        length, kind = struct.unpack("<HB", data[offset + 4 : offset + 7])
        part += data[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # a complete record, or the last part of one
            yield Record.FromString(part)
            part = b""


def _logged(folder: Path) -> dict[str, Any]:
    """Return the series by name, and the other content of an offline run."""
    (file,) = folder.glob("*.wandb")
    for _ in range(60):  # W&B's own process writes it asynchronously
        if any(record.WhichOneof("record_type") == "exit" for record in _records(file)):
            break
        time.sleep(0.5)
    found: dict[str, Any] = {"series": {}, "config": {}, "artifacts": []}
    for record in _records(file):
        kind = record.WhichOneof("record_type")
        if kind == "history":
            row = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            for key, value in row.items():
                found["series"].setdefault(key, []).append((row.get("trainer/global_step"), value))
        if kind in ("config", "run"):
            updates = (record.config if kind == "config" else record.run.config).update
            found["config"] |= {item.key: json.loads(item.value_json) for item in updates}
        elif kind == "artifact" and record.artifact.type == "model":
            metrics = json.loads(record.artifact.metadata)
            found["artifacts"].append((record.artifact.name, set(record.artifact.aliases) - {"latest"}, metrics))
        if kind == "run":
            found |= {"id": record.run.run_id, "group": record.run.run_group, "job": record.run.job_type}
            found |= {"name": record.run.display_name, "entity": record.run.entity, "notes": record.run.notes}
            found["tags"] = list(record.run.tags)
    return found


WANDB = ["logger=wandb", "logger.wandb.offline=true"]


def test_wandb_has_series_images_a_table_the_config_and_checkpoints(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is offline, without an account; its file is read back."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    run = train(*WANDB, "loss=l1+adv", "trainer.limit_test_batches=2")
    (folder,) = (run / "wandb").glob("offline-run-*")
    logged = _logged(folder)
    rows = _rows(run / "metrics.csv")
    for name in ("loss/l1", "loss/discriminator_adv", "lr/generator", "gradient/generator", "gradient/discriminator"):
        expected = [(int(row["step"]), pytest.approx(float(row[name]))) for row in rows if row[name]]
        assert logged["series"][name] == expected
        assert len(expected) == 3
    assert {"val/psnr", "val/psnr_blurred", "test/psnr"} <= logged["series"].keys()
    assert list((folder / "files" / "media" / "images").rglob("*.png"))
    (table,) = (folder / "files" / "media" / "table").rglob("*.json")
    content = json.loads(table.read_text())
    assert content["columns"] == [
        "set",
        "image",
        "psnr",
        "ssim",
        "psnr_blurred",
        "ssim_blurred",
        "blurred | restored | sharp",
    ]
    assert [row[1] for row in content["data"]] == [row["image"] for row in _rows(run / "per_image.csv")]
    assert content["data"][0][2] == pytest.approx(float(_rows(run / "per_image.csv")[0]["psnr"]))
    assert logged["config"]["model"]["width"] == 4
    assert (logged["name"], logged["group"], logged["job"]) == ("run", "runs", "train")
    metrics = json.loads((run / "results.json").read_text())["sets"]["photographs"]
    assert [(name, aliases) for name, aliases, _ in logged["artifacts"]] == [("run", {"last"}), ("run", {"best"})]
    assert logged["artifacts"][0][2]["photographs/psnr"] == pytest.approx(metrics["psnr"])


def test_a_resumed_run_continues_its_curves_and_another_run_has_its_own(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(self: PairedRestoration, batch: object, batch_idx: int) -> object:
        if self.global_step == 2:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    step = PairedRestoration.training_step
    with monkeypatch.context() as patch:
        patch.setattr(PairedRestoration, "training_step", stopped)
        with pytest.raises(SystemExit):
            train(*WANDB, "callbacks.checkpoints.every=1")
    run = train(*WANDB, "callbacks.checkpoints.every=1")
    parts = [_logged(folder) for folder in sorted((run / "wandb").glob("offline-run-*"))]
    assert len({part["id"] for part in parts}) == 1
    assert [step for part in parts for step, _ in part["series"]["loss/l1"]] == [1, 2, 3]
    other = train(*WANDB, "name=other").parent / "other"
    (folder,) = (other / "wandb").glob("offline-run-*")
    assert _logged(folder)["id"] != parts[0]["id"]


def test_wandb_takes_the_arguments_of_wandb_init_and_of_lightning(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """log_model=all uploads best.ckpt at the first validation too; prefix is Lightning's."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    keys = ["entity=team", "tags=[gopro,base]", "notes=a note", "group=mine", "project=deblur", "log_model=all"]
    further = ["config={budget: 3}", "prefix=own", "id=abc123", "settings={disable_git: true}"]
    run = train(
        *WANDB,
        *(f"logger.wandb.{key}" for key in keys),
        *(f"+logger.wandb.init.{key}" for key in further),
        "trainer.val_check_interval=3",
    )
    (folder,) = (run / "wandb").glob("offline-run-*")
    logged = _logged(folder)
    found = logged["entity"], logged["tags"], logged["notes"], logged["group"], logged["id"], logged["config"]["budget"]
    assert found == ("team", ["gopro", "base"], "a note", "mine", "abc123", 3)
    assert "own-loss/l1" in logged["series"]
    assert [aliases for _, aliases, _ in logged["artifacts"]] == [{"best"}, {"last"}, {"best"}]
    assert "val/psnr" in logged["artifacts"][0][2]


def test_log_model_false_uploads_no_checkpoint(train: Callable[..., Path]) -> None:
    run = train(*WANDB, "logger.wandb.log_model=false")
    (folder,) = (run / "wandb").glob("offline-run-*")
    assert _logged(folder)["artifacts"] == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "init",
            {"save_cod": True},
            "init.save_cod is no argument of wandb.init: did you mean save_code?",
        ),
        ("init", {"tags": ["a"]}, "init.tags can't be set: use logger.wandb.tags="),
        ("init", {"dir": "x"}, "init.dir can't be set: use run="),
        ("log_model", "best", "log_model=best is unknown: use true, false or all"),
    ],
)
def test_arguments_that_wandb_does_not_take_are_refused(key: str, value: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        WandB(folder=str(tmp_path), project="deblurlab", **{key: value})  # type: ignore[arg-type]
    assert str(caught.value).removeprefix("logger.wandb.") == message


@pytest.mark.slow
def test_without_an_account_the_run_continues_with_a_warning(tmp_path: Path, data_root: Path) -> None:
    overrides = ["+debug=smoke", *SMALL, "loss=l1", "logger=wandb", "name=run", f"data.root={data_root}"]
    hidden = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-m", "deblurlab", "train", *overrides], cwd=tmp_path, env={**hidden, "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "W&B is unavailable (No API key configured" in done.stderr
    assert (tmp_path / "runs/run/results.json").exists()
    assert len([row for row in _rows(tmp_path / "runs/run/metrics.csv") if row["loss/l1"]]) == 3
