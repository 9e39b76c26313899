"""ResilientLoader and SkipUnreadable: dead workers, stalled storage, unreadable images."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset

from deblurlab.dataloading.resilient_loader import ResilientLoader, SkipUnreadable, defer_signals
from deblurlab.dataloading.sampler import KeyedBatchSampler, Stage
from deblurlab.datasets.samples import Key
from deblurlab.errors import UserError

Train = Callable[..., Path]
WritePairs = Callable[..., tuple[Path, Path]]


class Numbers(Dataset[Any]):
    """Samples that are their index. Reading the sample `at` calls `harm` while the file `once` exists."""

    def __init__(self, once: Path, harm: Callable[[], None], at: int = 5) -> None:
        self._once, self._harm, self._at = once, harm, at

    def __len__(self) -> int:
        return 8

    def __getitem__(self, key: Key) -> Any:
        if key[1] == self._at and self._once.exists():
            self._harm()
        return {"index": key[1]}


def _loader(numbers: Numbers, *, retries: int = 3, timeout: float = 0, workers: int = 2) -> ResilientLoader:
    batches = KeyedBatchSampler([8], stages=[Stage(0, 1, 2)])

    def make_loader(sampler: Any) -> DataLoader[Any]:
        return DataLoader(
            numbers, batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0,
            worker_init_fn=defer_signals,
        )  # fmt: skip

    return ResilientLoader(
        make_loader, batches, file_names=lambda key: [f"file {key[1]}"], retries=retries, timeout=timeout
    )


def _indices(loader: ResilientLoader) -> list[list[int]]:
    return [batch["index"].tolist() for batch in loader]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _freeze() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _hang() -> None:
    time.sleep(60)


@pytest.fixture(autouse=True)
def _no_workers_left() -> Iterator[None]:
    """Kill the workers of failed loaders: the garbage collector would wait up to 25 seconds for them."""
    before = set(multiprocessing.active_children())
    yield
    for worker in set(multiprocessing.active_children()) - before:
        worker.kill()


@pytest.fixture
def once(tmp_path: Path) -> Path:
    (tmp_path / "once").touch()
    return tmp_path / "once"


@pytest.mark.parametrize("harm", ["death", "hang", "freeze"])
def test_every_batch_comes_once_and_in_order_despite_a_failing_worker(
    once: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    expected = _indices(_loader(Numbers(once.with_name("no"), _die), workers=0))

    def fail() -> None:
        once.unlink()  # fail once only
        {"death": _die, "hang": _hang, "freeze": _freeze}[harm]()

    loader = _loader(Numbers(once, fail), timeout=0 if harm == "death" else 2)
    assert _indices(loader) == expected
    assert _indices(loader) == expected  # the next epoch
    assert "restarting the workers (1 of 3)" in caplog.text
    assert "waiting for a batch of file " in caplog.text
    loader.close()


@pytest.mark.parametrize(
    ("harm", "message"), [(_die, "worker of the data loader died, 2 times"), (_hang, "no batch was read")]
)
def test_repeated_failures_are_an_error_that_names_the_files(
    once: Path, harm: Callable[[], None], message: str
) -> None:
    loader = _loader(Numbers(once, harm), retries=1, timeout=20 if harm is _die else 1)
    with pytest.raises(UserError, match=rf"{message}.* in a row, waiting for a batch of file .*same command"):
        _indices(loader)


def test_an_error_of_the_data_set_is_raised_without_a_restart(once: Path) -> None:
    def fail() -> None:
        raise RuntimeError("own error")

    with pytest.raises(RuntimeError, match="own error"):
        _indices(_loader(Numbers(once, fail)))


def test_a_worker_survives_signals_to_its_process_group(once: Path) -> None:
    """The main process needs its workers to finish the step; a worker exits some time after SIGTERM."""
    loader = _loader(Numbers(once.with_name("no"), _die))
    batches = iter(loader)
    _ = next(batches), next(batches)  # both workers have begun
    for number in (signal.SIGINT, signal.SIGTERM):
        for worker in multiprocessing.active_children():
            os.kill(worker.pid or 0, number)
    assert len(list(batches)) == 2
    loader.close()


def test_an_unreadable_sample_is_replaced_by_the_next_one(once: Path) -> None:
    def fail() -> None:
        raise UserError("photo.png is damaged")

    samples = SkipUnreadable(Numbers(once, fail, at=7))
    assert samples[0, 7, 1] == {"index": 0, "unreadable": "photo.png is damaged"}
    assert samples[0, 6, 1] == {"index": 6, "unreadable": ""}


def test_a_data_set_without_readable_samples_is_refused(once: Path) -> None:
    class Broken(Numbers):
        def __getitem__(self, key: Key) -> Any:
            raise UserError(f"{key[1]}.png is damaged")

    with pytest.raises(UserError, match=r"3 samples in a row can't be read: 6\.png is damaged"):
        SkipUnreadable(Broken(once, _die), max_attempts=3)[0, 6, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_stops_the_training_or_is_skipped_and_counted(
    train: Train, write_pairs: WritePairs, capfd: pytest.CaptureFixture[str], workers: int
) -> None:
    blurred, sharp = write_pairs(count=6, size=(72, 72))
    (blurred / "001.png").write_bytes((blurred / "001.png").read_bytes()[:1000])
    pairs = ["data=pairs", f"data.blurred={blurred}", f"data.sharp={sharp}", "data.val_share=0.2"]
    options = [*pairs, "loader.repeat=2", f"loader.workers={workers}", "trainer.max_steps=5"]
    with pytest.raises(SystemExit, match=r"001\.png is damaged or truncated .*replace it"):
        train(*options)
    run = train(*options, "loader.unreadable=skip", "name=skips").parent / "skips"
    assert json.loads((run / "results.json").read_text())["unreadable"] == 2  # once in each of two rounds
    assert capfd.readouterr().err.count("The next readable sample is used instead") == 2


@pytest.mark.parametrize("override", ["loader.unreadable=hope", "loader.timeout=-1", "loader.retries=-1"])
def test_invalid_settings_are_refused(train: Train, override: str) -> None:
    with pytest.raises(SystemExit, match=override.partition("=")[0]):
        train(override)
