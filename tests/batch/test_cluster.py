"""What `deblurlab restore --engine ray` decides before a cluster is asked."""

import sys
from pathlib import Path

import numpy as np
import pytest

from deblurlab.batch.cluster import Crew, Job, crew
from deblurlab.cli.restore import restore as restore_command
from deblurlab.errors import UserError
from deblurlab.media.images import write_png
from deblurlab.runs.storage import Folder


def _job(device: str = "auto", workers: int | None = None) -> Job:
    return Job(source="in", target="out", device=device, workers=workers)


@pytest.mark.parametrize(
    ("resources", "job", "pictures", "expected"),
    [
        ({"CPU": 16}, _job(), 100, Crew(8, 1, 0, 2, "cpu")),
        ({"CPU": 1}, _job(), 100, Crew(1, 1, 0, 1, "cpu")),
        ({"CPU": 16}, _job(), 3, Crew(3, 1, 0, 5, "cpu")),
        ({"CPU": 2}, _job(workers=8), 100, Crew(8, 0.25, 0, 1, "cpu")),
        ({"CPU": 64, "GPU": 8}, _job(), 100, Crew(8, 1, 1, 8, "cuda")),
        ({"CPU": 64, "GPU": 2}, _job(workers=3), 100, Crew(3, 1, 0.5, 21, "cuda")),
        ({"CPU": 64, "GPU": 8}, _job("cpu"), 100, Crew(32, 1, 0, 2, "cpu")),
    ],
)
def test_a_crew_fits_the_cluster(resources: dict[str, float], job: Job, pictures: int, expected: Crew) -> None:
    found = crew(resources, job, pictures)
    assert found == expected
    assert found.workers * found.cpus <= resources["CPU"]


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (_job("cuda"), "--device cuda: the Ray cluster has no GPU"),
        (_job("cuda:1"), "--device cuda:1: --engine ray takes auto, cpu or cuda"),
        (_job(workers=0), "--workers 0 is no number"),
    ],
)
def test_what_the_cluster_cannot_give_is_named(job: Job, message: str) -> None:
    with pytest.raises(UserError, match=message):
        crew({"CPU": 2}, job, 5)


def _said(*arguments: object) -> str:
    with pytest.raises(SystemExit) as end:
        restore_command([str(argument) for argument in arguments])
    return str(end.value.code)


def test_options_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    ray = ("--engine", "ray")
    assert "--engine ray requires --input" in _said(*ray)
    assert "--engine ray doesn't accept photos: it restores the images at --input" in _said("photos", *ray)
    assert "--engine ray doesn't accept --side-by-side" in _said(*ray, "--input", tmp_path, "--side-by-side")
    assert "--input requires --engine ray" in _said("--input", tmp_path)
    assert "--workers requires --engine ray" in _said(tmp_path, "--workers", 2)
    assert "there is nothing to restore" in _said()


def test_places_that_do_not_do_are_named(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    ray = ("--engine", "ray", "--input")
    assert "there are no images (.bmp, .jpeg" in _said(*ray, tmp_path, "-o", tmp_path / "out")
    (tmp_path / "in").mkdir()
    write_png(tmp_path / "in" / "x.png", np.zeros((8, 8, 3), np.uint8))
    assert "would be overwritten: choose another place" in _said(*ray, tmp_path / "in", "-o", tmp_path)
    assert "gs://bucket is neither a folder nor s3://" in _said(*ray, "gs://bucket", "-o", tmp_path / "out")
    assert "there are no weights nothing" in _said(*ray, tmp_path / "in", "-o", tmp_path / "o", "--weights", "nothing")


def test_without_ray_one_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'deblurlab[ray]'" in _said("--engine", "ray", "--input", tmp_path)


def test_a_key_does_not_lead_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    store = Folder(tmp_path / "out")
    for key in ("../x.png", "/tmp/x.png", "a/../../x.png"):
        with pytest.raises(UserError, match="would be written outside of"):
            store.put(tmp_path / "file", key)
    store.put(tmp_path / "file", "a/b.png")
    assert list(store.keys()) == ["a/b.png"]
