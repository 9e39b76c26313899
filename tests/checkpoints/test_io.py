"""Checkpoints that are damaged, truncated or hostile."""

import logging
import os
import random
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.checkpoints.io import (
    DamagedError,
    newest_checkpoint,
    read_checkpoint,
    read_training_state,
    try_read_training_state,
)
from deblurlab.checkpoints.plugin import AtomicCheckpointIO
from deblurlab.errors import UserError
from deblurlab.runs.folder import Run


def _content(step: int) -> dict:
    values = torch.arange(16, dtype=torch.float32) + step
    lightning = {"global_step": step, "callbacks": {}, "loops": {}, "pytorch-lightning_version": "2.6.0"}
    return {"state_dict": {"a": values, "b": values[:2].double()}, "record": {"x": [1, "y"]}, **lightning}


def _equal(a: dict, b: dict) -> bool:
    tensors = all(torch.equal(a["state_dict"][name], value) for name, value in b["state_dict"].items())
    return tensors and {**a, "state_dict": None} == {**b, "state_dict": None}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with three checkpoints: best (step 1), previous (2) and last (3)."""
    run, io = Run(tmp_path / "run"), AtomicCheckpointIO()
    io.save_checkpoint(_content(1), run.best_checkpoint)
    for step in (2, 3):
        io.save_checkpoint(_content(step), run.last_checkpoint)
    return run


def test_a_flipped_bit_is_detected_or_harmless(run: Run) -> None:
    """For every byte of a small file: the file is refused, or its content is the same (a date, padding)."""
    file = run.last_checkpoint
    data, rng, refused = file.read_bytes(), random.Random(0), 0
    for i in range(len(data)):
        damaged = bytearray(data)
        damaged[i] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            read = read_checkpoint(file)
        except UserError:
            refused += 1
        else:
            assert _equal(read, _content(3)), i
    assert refused > 0.3 * len(data)


@pytest.mark.parametrize("share", [0, 0.2, 0.6, 0.99])
def test_a_truncated_last_checkpoint_is_replaced_by_the_previous_one(
    run: Run, caplog: pytest.LogCaptureFixture, share: float
) -> None:
    data = run.last_checkpoint.read_bytes()
    run.last_checkpoint.write_bytes(data[: int(share * len(data))])
    found = newest_checkpoint(run)
    assert found is not None
    assert (found[0], found[1]["global_step"]) == (run.previous_checkpoint, 2)
    assert "last.ckpt can't be read" in caplog.text
    assert f"resumes from {run.previous_checkpoint}, step 2" in caplog.text
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [
        "best.ckpt",
        "last.ckpt.damaged",
        "previous.ckpt",
    ]


def test_a_kill_between_the_two_renames_leaves_the_previous_checkpoint(run: Run) -> None:
    run.last_checkpoint.unlink()
    found = newest_checkpoint(run)
    assert found is not None
    assert found[1]["global_step"] == 2


def test_the_newer_of_the_previous_and_the_best_checkpoint_replaces_a_damaged_one(run: Run) -> None:
    AtomicCheckpointIO().save_checkpoint(_content(7), run.best_checkpoint)
    run.last_checkpoint.write_bytes(b"damaged")
    found = newest_checkpoint(run)
    assert found is not None
    assert (found[0], found[1]["global_step"]) == (run.best_checkpoint, 7)


def test_a_checkpoint_and_its_folder_are_flushed_once_each(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[bool] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(stat.S_ISDIR(os.fstat(file).st_mode)) or fsync(file))
    AtomicCheckpointIO().save_checkpoint(_content(4), run.last_checkpoint)
    assert flushed == [False, True]


def test_errors_of_torch_other_than_a_full_disk_are_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(message: str) -> Callable[..., None]:
        def save(content: object, target: object) -> None:
            if hasattr(target, "fileno"):
                raise RuntimeError(message)

        return save

    monkeypatch.setattr(torch, "save", fail("can't pickle"))
    with pytest.raises(RuntimeError, match="can't pickle"):
        AtomicCheckpointIO().save_checkpoint(_content(4), run.best_checkpoint)
    assert run.previous_checkpoint.exists()  # nothing is deleted to make room
    monkeypatch.setattr(torch, "save", fail("PytorchStreamWriter failed writing file"))
    with pytest.raises(UserError, match="couldn't be written .PytorchStreamWriter failed writing file"):
        AtomicCheckpointIO().save_checkpoint(_content(4), run.best_checkpoint)


def test_the_best_checkpoint_is_the_last_resort_before_an_error(run: Run) -> None:
    for file in (run.last_checkpoint, run.previous_checkpoint):
        file.write_bytes(b"damaged")
    found = newest_checkpoint(run)
    assert found is not None
    assert found[1]["global_step"] == 1
    run.best_checkpoint.write_bytes(b"damaged")
    with pytest.raises(
        UserError, match=r"every checkpoint of .*run is damaged \(best\.ckpt\.dam.*\): fresh=true starts"
    ):
        newest_checkpoint(run)
    with pytest.raises(UserError, match=r"every checkpoint .*best\.ckpt\.damaged, last\.ckpt\.damaged, previous"):
        newest_checkpoint(run)  # the next attempt doesn't start over either
    assert try_read_training_state(run.best_checkpoint) is None


@pytest.mark.parametrize("key", ["global_step", "callbacks", "loops", "pytorch-lightning_version"])
@pytest.mark.parametrize("value", [None, "x"])
def test_a_checkpoint_without_training_state_is_refused(run: Run, key: str, value: object) -> None:
    torch.save({**_content(4), key: value if key != "pytorch-lightning_version" else 2}, run.folder / "bare.ckpt")
    with pytest.raises(DamagedError, match=rf"bare.ckpt holds no training state: it has no {key}"):
        read_training_state(run.folder / "bare.ckpt")


def test_renamed_callbacks_are_read_under_their_current_names(run: Run) -> None:
    old = {"Continuation": {"batch": 3}, "Interruption": {}, "Trouble": {"count": 1}, "EMA": {"updates": 2}}
    torch.save(_content(5) | {"callbacks": old}, run.folder / "old.ckpt")
    assert read_training_state(run.folder / "old.ckpt")["callbacks"] == {
        "ResumeState": {"batch": 3},
        "Preemption": {},
        "NonFinite": {"count": 1},
        "EMA": {"updates": 2},
    }


def test_a_compressed_archive_is_not_inflated(run: Run) -> None:
    """The archive has a few kilobytes and would inflate to 64 MiB."""
    bomb = run.folder / "bomb.ckpt"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a/data.pkl", "w") as record:
        for _ in range(64):
            record.write(bytes(2**20))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(UserError, match="its records are compressed"):
        read_checkpoint(bomb)


def test_unneeded_files_are_deleted_on_a_full_disk(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is room for two checkpoints; the previous one is deleted."""
    save = torch.save

    def full(content: object, target: object) -> None:
        if run.previous_checkpoint.exists() and hasattr(target, "fileno"):
            raise OSError(28, "No space left on device")
        save(content, target)  # type: ignore[arg-type]

    (run.checkpoints / ".best.ckpt.partial").write_bytes(b"rest of a killed attempt")
    monkeypatch.setattr(torch, "save", full)
    caplog.set_level(logging.WARNING)
    AtomicCheckpointIO().save_checkpoint(_content(4), run.last_checkpoint)
    assert read_checkpoint(run.last_checkpoint)["global_step"] == 4
    assert read_checkpoint(run.previous_checkpoint)["global_step"] == 3
    assert "previous.ckpt was deleted to make room" in caplog.text
    assert not list(run.checkpoints.glob(".*"))


def test_the_error_for_a_full_disk_has_the_sizes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save, size = torch.save, run.last_checkpoint.stat().st_size

    def full(content: object, target: object) -> None:
        if hasattr(target, "fileno"):
            raise OSError(28, "No space left on device")
        save(content, target)  # type: ignore[arg-type]

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 8, 1_000_000))  # type: ignore[attr-defined]
    content = _content(3) | {"extra": torch.zeros(1_000_000)}
    with pytest.raises(UserError, match=r"needs 4\.0 MB, and 1\.0 MB are free.*checkpoint before it is unchanged"):
        AtomicCheckpointIO().save_checkpoint(content, run.last_checkpoint)
    assert read_checkpoint(run.last_checkpoint)["global_step"] == 3
    assert run.last_checkpoint.stat().st_size == size
