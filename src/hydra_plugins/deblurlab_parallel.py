"""`hydra/launcher=parallel`: every job of a sweep is a process of its own, so many at once as the machine has GPUs.

Hydra's basic launcher runs jobs one after the other in one process. There a training on several devices can't work:
Lightning starts its other processes by repeating the command, which is the whole sweep's (hydra issue 2070).
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, configure_log, filter_overrides, setup_globals
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from deblurlab.runs.folder import Run

_LOG = logging.getLogger("hydra.deblurlab")
_STOPPING = 60.0
"""Seconds that a job has to keep its last step when the sweep is stopped."""


@dataclass
class _Job:
    number: int
    overrides: Sequence[str]
    cfg: DictConfig
    run: Run
    log: Path
    needs: int
    """GPUs."""
    process: subprocess.Popen[bytes] | None = None
    gpus: Sequence[str] = ()
    began: float = 0.0


class Parallel(Launcher):
    """Starts `deblurlab train` (or `evaluate`) for each job, with GPUs of its own; what a job prints goes to
    `logs/<run>.log` in the sweep's folder.

    Args:
        jobs: How many at once; None: as many as there are GPUs for, and without GPUs one after the other. Jobs on the
            processor share its cores evenly.
    """

    def __init__(self, *, jobs: int | None = None) -> None:
        self._jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        if self._jobs is not None and self._jobs < 1:
            raise CompactHydraException(f"deblurlab: hydra.launcher.jobs={self._jobs} must be at least 1")
        gpus = _gpus()
        at_once = self._jobs or max(1, len(gpus))
        jobs = [self._job(initial_job_idx + i, overrides, len(gpus)) for i, overrides in enumerate(job_overrides)]
        folders = [job.run.folder for job in jobs]
        if twice := [folder for folder in folders if folders.count(folder) > 1]:
            raise CompactHydraException(f"deblurlab: several jobs would write to {twice[0]}: leave out name=")
        waiting, free, running = deque(jobs), list(gpus), list[_Job]()
        before = {number: signal.signal(number, _end) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        try:
            while waiting or running:
                while waiting and len(running) < at_once and waiting[0].needs <= len(free):
                    running.append(job := waiting.popleft())
                    job.gpus, free[:] = free[: job.needs], free[job.needs :]
                    _begin(job, at_once)
                time.sleep(0.1)
                for job in [job for job in running if job.process is not None and job.process.poll() is not None]:
                    running.remove(job)
                    free += job.gpus
                    _tell(job)
        finally:
            _stop(job.process for job in running if job.process is not None)
            for number, handle in before.items():
                signal.signal(number, handle)
        return [_returned(job) for job in jobs]

    def _job(self, number: int, overrides: Sequence[str], gpus: int) -> _Job:
        cfg = self._context.config_loader.load_sweep_config(self._config, list(overrides))
        HydraConfig.instance().set_config(cfg)
        run = Run(Path(cfg.run))
        log = Path(cfg.hydra.sweep.dir, "logs", f"{run.folder.name}.log")
        return _Job(number, overrides, cfg, run, log, _needs(cfg, gpus))


def _begin(job: _Job, at_once: int) -> None:
    command = [sys.executable, "-m", "deblurlab", job.cfg.hydra.job.config_name, *_places(job.cfg), *job.overrides]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(job.gpus)}
    if not job.gpus:
        devices = OmegaConf.select(job.cfg, "trainer.devices")
        processes = at_once * (devices if isinstance(devices, int) and devices > 0 else 1)
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    _LOG.info("#%d : %s > %s", job.number, " ".join(filter_overrides(job.overrides)), job.log)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.began = time.monotonic()
    with job.log.open("wb") as log:  # a session of its own: an interrupt in the terminal isn't meant for it
        job.process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name and name != "-1"]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _needs(cfg: DictConfig, gpus: int) -> int:
    """How many GPUs a job needs.

    Raises:
        CompactHydraException: There aren't as many.
    """
    if "trainer" not in cfg:  # an evaluation
        return 0 if cfg.device == "cpu" else min(1, gpus)
    devices, accelerator = cfg.trainer.devices, cfg.trainer.accelerator
    if accelerator == "cpu" or (accelerator == "auto" and not gpus):
        return 0
    count = gpus if devices in (-1, "-1", "auto") else int(devices) if str(devices).isdigit() else 0
    if not 0 < count <= gpus:
        raise CompactHydraException(f"deblurlab: trainer.devices={devices}, of {gpus} GPUs: say how many")
    return count


def _places(cfg: DictConfig) -> list[str]:
    """Where the command line says that further options lie."""
    given = [source.path for source in cfg.hydra.runtime.config_sources if source.provider == "command-line"]
    flags = [word for path in given for word in ("--config-dir", path)]
    return flags + [word for word in cfg.hydra.overrides.hydra if word.lstrip("+").startswith("hydra.searchpath=")]


def _end(number: int, frame: object) -> None:
    for ended in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ended, signal.SIG_IGN)  # jobs are being stopped already
    _LOG.warning("stopping: the same command goes on")
    raise SystemExit(128 + number)


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End what is still running, so that it can be taken up again."""
    stopping = list(processes)
    for process in stopping:
        process.terminate()
    for process in stopping:
        try:
            process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _tell(job: _Job) -> None:
    assert job.process is not None
    minutes = (time.monotonic() - job.began) / 60
    if job.process.returncode == 0:
        _LOG.info("#%d : finished after %.1f minutes: %s", job.number, minutes, job.run.folder)
    else:
        _LOG.error("#%d : failed after %.1f minutes: %s (%s)", job.number, minutes, _last_line(job.log), job.log)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def _returned(job: _Job) -> JobReturn:
    """What Hydra's sweepers look at: the results, or why there are none."""
    assert job.process is not None
    done = JobReturn(overrides=job.overrides, cfg=job.cfg, working_dir=str(Path.cwd()), task_name=job.run.folder.name)
    if job.process.returncode == 0:
        done.return_value, done.status = job.run.results(), JobStatus.COMPLETED
    else:
        done.return_value, done.status = CompactHydraException(_last_line(job.log)), JobStatus.FAILED
    return done
