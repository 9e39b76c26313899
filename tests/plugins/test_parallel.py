"""`hydra/launcher=parallel`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra.errors import CompactHydraException

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.runs.folder import Run
from hydra_plugins.deblurlab_parallel import _count_gpus, _Job, _progress
from support import SMALL, config

Train = Callable[..., Path]
CPU = ["trainer.accelerator=cpu"]


@pytest.mark.parametrize(
    ("overrides", "gpus", "needed"),
    [
        (["trainer=default"], 0, 0),
        (["trainer=default"], 4, 1),
        (["trainer=ddp"], 4, 4),
        (["trainer=ddp", "trainer.devices=2"], 4, 2),
        (["trainer=ddp_cpu"], 4, 0),
    ],
)
def test_the_trainer_determines_the_number_of_gpus(overrides: list[str], gpus: int, needed: int) -> None:
    assert _count_gpus(config(*overrides), gpus) == needed


def test_too_many_gpus_are_an_error() -> None:
    for devices in ("4", "[0]"):
        with pytest.raises(CompactHydraException, match=r"trainer.devices=.* with 2 GPUs: set a number up to 2"):
            _count_gpus(config("trainer=ddp", f"trainer.devices={devices}"), 2)
    assert _count_gpus(config("restorer=identity", name="evaluate"), 2) == 1


def test_time_left_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs took 4 and 8 minutes; one is waiting, one has run for 2 minutes, one had results before the sweep."""
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)

    def job(*, new: bool, start: float = 0.0) -> _Job:
        return _Job(0, [], config(), Run(Path("runs/x")), Path("x.log"), 0, new=new, start=start)

    waiting, running = [job(new=True)], [job(new=True, start=880.0), job(new=False, start=990.0)]
    assert _progress(waiting, running, [4.0, 8.0], 1) == "2 jobs left, about 10 minutes"
    assert _progress(waiting, running, [4.0, 8.0], 2) == "2 jobs left, about 5 minutes"
    assert _progress(waiting, [], [], 2) == "1 job left"


def test_jobs_with_the_same_folder_are_refused(train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train("-m", "seed=1,2", "name=same", "hydra/launcher=parallel")
    assert "several jobs would write to runs/same: leave out name=" in capsys.readouterr().err
    assert not Path("runs/same").exists()


@pytest.mark.slow
def test_jobs_are_written_to_the_sweep_folder_of_hydra(train: Train) -> None:
    train("-m", "seed=1,2", "name=null", "hydra.sweep.dir=my sweep", "hydra/launcher=parallel", *CPU)
    seeds = [json.loads(file.read_text())["seed"] for file in Path("my sweep").glob("*/results.json")]
    assert sorted(seeds) == [1, 2]
    assert not Path("runs").exists()


@pytest.mark.slow
def test_jobs_with_two_processes_give_the_weights_of_one_process(train: Train) -> None:
    common = ["loss=l1+adv", "trainer.precision=64-true", "loader.batch_size=4", "data.train=8", *CPU]
    train("-m", *common, "seed=1,2", "trainer=ddp_cpu", "hydra/launcher=parallel", "runs=sweep", "name=null")
    runs = sorted(path.parent for path in Path("sweep").glob("*/results.json"))
    assert [json.loads((run / "results.json").read_text())["seed"] for run in runs] == [1, 2]
    assert len(list(Path("sweep").glob("*/config.yaml"))) == 2
    for seed, run in enumerate(runs, start=1):
        alone = train(*common, f"seed={seed}", "fresh=true")
        one, two = (read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"] for folder in (alone, run))
        assert one.keys() == two.keys()
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=0, atol=1e-8, msg=name)


@pytest.mark.slow
def test_a_failed_job_is_reported_and_stops_no_other(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        train("-m", "loss.l1.weight=abc,1", "hydra/launcher=parallel", "name=null", *CPU)
    assert end.value.code == 1
    output = "".join(capfd.readouterr())
    assert "loss.l1.weight=abc isn't a number" in output
    assert "Traceback" not in output
    assert len(list(Path("runs").glob("*/results.json"))) == 1
    assert len(list(Path("runs/logs").glob("*.log"))) == 2


@pytest.mark.slow
def test_a_terminated_sweep_saves_the_last_steps_of_its_jobs(tmp_path: Path, data_root: Path) -> None:
    endless = ["trainer.max_steps=100000", "trainer.val_check_interval=100000"]
    sweep = [
        sys.executable, "-m", "deblurlab", "train", "-m", "loss=l1", "seed=1,2", "+debug=smoke", *SMALL, *CPU, *endless,
        f"data.root={data_root}", "hydra/launcher=parallel", "hydra.launcher.jobs=2",
    ]  # fmt: skip
    process = subprocess.Popen(sweep, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for _ in range(600):
        if len(list((tmp_path / "runs").glob("*/metrics.csv"))) == 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    checkpoints = list((tmp_path / "runs").glob("*/checkpoints/last.ckpt"))
    assert len(checkpoints) == 2
    assert all(read_checkpoint(file)["global_step"] > 0 for file in checkpoints)
    alive = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True).stdout.split()
    assert [pid for pid in alive if int(pid) != os.getpid()] == []
