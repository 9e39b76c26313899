"""Sweeps on a real SLURM cluster, with preemption of a running job."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.checkpoints.io import read_checkpoint
from support import SMALL

STEPS = 400


def _scontrol(*words: str) -> str:
    return subprocess.run(["scontrol", *words], capture_output=True, text=True, check=True).stdout


def _command(root: Path, *words: str) -> list[str]:
    return [
        sys.executable, "-m", "deblurlab", "train", "-m", "+debug=smoke", f"data.root={root}", *SMALL,
        "loss=l1+adv", "seed=1,2", f"trainer.max_steps={STEPS}", f"trainer.val_check_interval={STEPS}",
        f"callbacks.checkpoints.every={STEPS}", "trainer.accelerator=cpu", *words,
    ]  # fmt: skip


def test_a_preempted_job_of_a_sweep_resumes_to_the_same_weights(slurm: None, tmp_path: Path, data_root: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    alone = subprocess.run(_command(data_root, "runs=alone"), cwd=tmp_path, env=environment, timeout=300)
    assert alone.returncode == 0
    folder, log = tmp_path / "cluster", tmp_path / "log"
    launcher = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=2", "runs=cluster"]
    with log.open("w") as file:
        command = _command(data_root, *launcher)
        sweep = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file)

    def wait(what: str, seconds: float, reached: Callable[[], bool]) -> None:
        for _ in range(int(seconds * 5)):
            if reached():
                return
            time.sleep(0.2)
        logs = [log, *folder.glob(".submitit/*/*.err")]
        pytest.fail(f"{what}: not within {seconds} seconds:\n" + "\n".join(f.read_text()[-1500:] for f in logs))

    try:
        wait("the first steps", 120, lambda: len(list(folder.glob("*/metrics.csv"))) == 2)
        job = _scontrol("--oneliner", "show", "jobs").split("JobId=")[1].split()[0]
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
        queued = {"Restarts=1", "JobState=PENDING", "Reason=BeginTime"}
        wait("the queueing", 60, lambda: queued <= set(_scontrol("show", "job", job).split()))
        kept = [read_checkpoint(file)["global_step"] for file in folder.glob("*/checkpoints/last.ckpt")]
        assert [step for step in kept if 0 < step < STEPS]  # written on the signal
        _scontrol("update", f"JobId={job}", "StartTime=now")  # otherwise SLURM waits for two minutes
        wait("the end", 120, lambda: len(list(folder.glob("*/results.json"))) == 2)
    finally:
        sweep.terminate()  # it polls the state of its jobs only every minute or two
        sweep.wait()
    for one in sorted((tmp_path / "alone").glob("*/checkpoints/last.ckpt")):
        state, expected = (read_checkpoint(file) for file in (folder / one.relative_to(tmp_path / "alone"), one))
        assert state["global_step"] == expected["global_step"] == STEPS
        assert state["state_dict"].keys() == expected["state_dict"].keys()
        for name, value in expected["state_dict"].items():
            assert torch.equal(state["state_dict"][name], value), name
