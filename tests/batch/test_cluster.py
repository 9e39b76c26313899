"""`deblurlab restore --engine ray` without a cluster: options, number of workers, error messages."""

import sys
from pathlib import Path

import numpy as np
import pytest

from deblurlab.batch.cluster import ClusterJob, WorkerPool, plan_workers
from deblurlab.cli.restore import restore as restore_command
from deblurlab.errors import UserError
from deblurlab.media.images import write_png


def _job(device: str = "auto", workers: int | None = None) -> ClusterJob:
    return ClusterJob(source="in", target="out", device=device, workers=workers)


@pytest.mark.parametrize(
    ("resources", "job", "images", "expected"),
    [
        ({"CPU": 16}, _job(), 100, WorkerPool(8, 1, 0, 2, "cpu")),
        ({"CPU": 1}, _job(), 100, WorkerPool(1, 1, 0, 1, "cpu")),
        ({"CPU": 16}, _job(), 3, WorkerPool(3, 1, 0, 5, "cpu")),
        ({"CPU": 2}, _job(workers=8), 100, WorkerPool(8, 0.25, 0, 1, "cpu")),
        ({"CPU": 64, "GPU": 8}, _job(), 100, WorkerPool(8, 1, 1, 8, "cuda")),
        ({"CPU": 64, "GPU": 2}, _job(workers=3), 100, WorkerPool(3, 1, 0.5, 21, "cuda")),
        ({"CPU": 64, "GPU": 8}, _job("cpu"), 100, WorkerPool(32, 1, 0, 2, "cpu")),
    ],
)
def test_workers_fit_the_cluster(
    resources: dict[str, float], job: ClusterJob, images: int, expected: WorkerPool
) -> None:
    found = plan_workers(resources, job, images)
    assert found == expected
    assert found.workers * found.cpus <= resources["CPU"]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (_job("cuda"), "--device cuda: the Ray cluster has no GPU"),
        (_job("cuda:1"), "--device cuda:1: --engine ray accepts auto, cpu or cuda"),
        (_job(workers=0), "--workers must be at least 1, not 0"),
    ],
)
def test_unavailable_workers_and_devices_are_refused(job: ClusterJob, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_workers({"CPU": 2}, job, 5)


def _error_message(*arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        restore_command([str(argument) for argument in arguments])
    return str(end.value.code)


def test_options_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    ray = ("--engine", "ray")
    assert "--engine ray requires --input" in _error_message(*ray)
    assert "--engine ray doesn't accept photos: it restores the images at --input" in _error_message("photos", *ray)
    assert "--engine ray doesn't accept --side-by-side" in _error_message(*ray, "--input", tmp_path, "--side-by-side")
    assert "--input requires --engine ray" in _error_message("--input", tmp_path)
    assert "--workers requires --engine ray" in _error_message(tmp_path, "--workers", 2)
    assert "there is nothing to restore" in _error_message()


def test_unusable_sources_and_targets_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    ray = ("--engine", "ray", "--input")
    assert "there are no images (.avif, .bmp, " in _error_message(*ray, tmp_path, "-o", tmp_path / "out")
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "x.png", np.zeros((8, 8, 3), np.uint8))
    assert "would be overwritten: choose another -o" in _error_message(*ray, tmp_path / "in", "-o", tmp_path)
    assert "gs://bucket is neither a folder nor s3://" in _error_message(*ray, "gs://bucket", "-o", tmp_path / "out")
    assert "there are no weights nothing" in _error_message(
        *ray, tmp_path / "in", "-o", tmp_path / "o", "--weights", "nothing"
    )


def test_without_ray_the_message_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'deblurlab[ray]'" in _error_message("--engine", "ray", "--input", tmp_path)
