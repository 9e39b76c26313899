"""Hydra launcher `hydra/launcher=parallel`: runs each job of a sweep in a separate process, in parallel on GPUs.

Hydra's basic launcher runs all jobs in one process. A training on several devices can't run there: Lightning
starts its other processes by repeating the command, which would start the whole sweep
(https://github.com/facebookresearch/hydra/issues/2070).
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

from deblurlab.config.overrides import quote
from deblurlab.runs.cpus import available_cpus
from deblurlab.runs.folder import Run

_LOG = logging.getLogger("hydra.deblurlab")
_STOP_TIMEOUT = 60.0
"""Maximum number of seconds that a job may take to save its last step when the sweep is stopped."""


@dataclass
class _Job:
    """One job of a sweep and its process."""

    number: int
    overrides: Sequence[str]
    cfg: DictConfig
    run: Run
    log: Path
    gpu_count: int
    new: bool
    """Whether the job had no results before."""
    process: subprocess.Popen[bytes] | None = None
    gpus: Sequence[str] = ()
    start: float = 0.0


class Parallel(Launcher):
    """Launcher that runs `deblurlab train` (or `evaluate`) for each job with exclusive GPUs.

    The output of a job goes to `logs/<run>.log` in the sweep's folder.

    Args:
        jobs: Maximum number of jobs at a time; None: as many as fit on the GPUs, or one without GPUs. Jobs on the CPU
            share its cores evenly.
    """

    def __init__(self, *, jobs: int | None = None) -> None:
        self._jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the context and the config of the sweep."""
        self._context, self._config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs and return their results in the same order.

        Raises:
            CompactHydraException: Two jobs have the same folder, or a job needs more GPUs than there are.
        """
        setup_globals()
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)
        if self._jobs is not None and self._jobs < 1:
            raise CompactHydraException(f"deblurlab: hydra.launcher.jobs={self._jobs} must be at least 1")
        gpus = _visible_gpus()
        max_jobs = self._jobs or max(1, len(gpus))
        jobs = [self._job(initial_job_idx + i, overrides, len(gpus)) for i, overrides in enumerate(job_overrides)]
        folders = [job.run.folder for job in jobs]
        if shared := [folder for folder in folders if folders.count(folder) > 1]:
            raise CompactHydraException(f"deblurlab: several jobs would write to {shared[0]}: leave out name=")
        waiting, free, running, minutes = deque(jobs), list(gpus), list[_Job](), list[float]()
        handlers = {
            number: signal.signal(number, _on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            while waiting or running:
                while waiting and len(running) < max_jobs and waiting[0].gpu_count <= len(free):
                    running.append(job := waiting.popleft())
                    job.gpus, free[:] = free[: job.gpu_count], free[job.gpu_count :]
                    _start(job, max_jobs)
                time.sleep(0.1)
                for job in [job for job in running if job.process is not None and job.process.poll() is not None]:
                    running.remove(job)
                    free += job.gpus
                    if job.new:
                        minutes.append((time.monotonic() - job.start) / 60)
                    _log_end(job, _progress(waiting, running, minutes, max_jobs))
        finally:
            _stop(job.process for job in running if job.process is not None)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return [_job_return(job) for job in jobs]

    def _job(self, number: int, overrides: Sequence[str], gpus: int) -> _Job:
        cfg = self._context.config_loader.load_sweep_config(self._config, list(overrides))
        HydraConfig.instance().set_config(cfg)
        run = Run(Path(cfg.run))
        log = Path(cfg.hydra.sweep.dir, "logs", f"{run.folder.name}.log")
        return _Job(number, overrides, cfg, run, log, _count_gpus(cfg, gpus), new=run.results() is None)


def _start(job: _Job, max_jobs: int) -> None:
    command = [
        sys.executable,
        "-m",
        "deblurlab",
        job.cfg.hydra.job.config_name,
        *_search_path_arguments(job.cfg),
        *job.overrides,
        *_folder_arguments(job),
    ]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ",".join(job.gpus)}
    if not job.gpus:
        devices = OmegaConf.select(job.cfg, "trainer.devices")
        processes = max_jobs * (devices if isinstance(devices, int) and devices > 0 else 1)
        environment.setdefault("OMP_NUM_THREADS", str(max(1, available_cpus() // processes)))
    _LOG.info("#%d : %s > %s", job.number, " ".join(filter_overrides(job.overrides)), job.log)
    job.log.parent.mkdir(parents=True, exist_ok=True)
    job.start = time.monotonic()
    with job.log.open("wb") as log:  # in a new session, so that Ctrl-C reaches the sweep only
        job.process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def _visible_gpus() -> list[str]:
    """Return the GPUs as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name and name != "-1"]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]


def _count_gpus(cfg: DictConfig, gpus: int) -> int:
    """Return the number of GPUs that a job needs, on a machine with `gpus`.

    Raises:
        CompactHydraException: There are fewer, or the config doesn't give a number.
    """
    if "trainer" not in cfg:  # an evaluation
        return 0 if cfg.device == "cpu" else min(1, gpus)
    devices, accelerator = cfg.trainer.devices, cfg.trainer.accelerator
    if accelerator == "cpu" or (accelerator == "auto" and not gpus):
        return 0
    count = gpus if devices in (-1, "-1", "auto") else int(devices) if str(devices).isdigit() else 0
    if not 0 < count <= gpus:
        raise CompactHydraException(f"deblurlab: trainer.devices={devices} with {gpus} GPUs: set a number up to {gpus}")
    return count


def _search_path_arguments(cfg: DictConfig) -> list[str]:
    """Return the arguments of the sweep's command that extend the config search path."""
    folders = [source.path for source in cfg.hydra.runtime.config_sources if source.provider == "command-line"]
    flags = [argument for folder in folders for argument in ("--config-dir", folder)]
    overrides = cfg.hydra.overrides.hydra
    return flags + [override for override in overrides if override.lstrip("+").startswith("hydra.searchpath=")]


def _folder_arguments(job: _Job) -> list[str]:
    """Return the override of a job's folder, which the job's own process can't derive from `hydra.sweep`."""
    moved = job.cfg.hydra.sweep.dir != job.cfg.runs or job.cfg.hydra.sweep.subdir != "."
    return [f"hydra.run.dir={quote(str(job.run.folder))}"] if moved else []


def _on_signal(number: int, frame: object) -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)  # while the jobs are stopped
    _LOG.warning("stopping: the same command resumes the sweep")
    raise SystemExit(128 + number)


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Terminate processes and wait until their runs are saved; kill those that exceed the timeout."""
    stopping = list(processes)
    for process in stopping:
        process.terminate()
    for process in stopping:
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _log_end(job: _Job, progress: str) -> None:
    assert job.process is not None
    minutes = (time.monotonic() - job.start) / 60
    if job.process.returncode == 0:
        _LOG.info("#%d : finished after %.1f minutes: %s (%s)", job.number, minutes, job.run.folder, progress)
    else:
        _LOG.error("#%d : failed after %.1f minutes: %s (%s)", job.number, minutes, _last_line(job.log), job.log)


def _progress(waiting: Iterable[_Job], running: Iterable[_Job], minutes: Sequence[float], max_jobs: int) -> str:
    """Return how many jobs are left, and the time that they take if they are as long as those in `minutes`."""
    left = [job for job in (*waiting, *running) if job.new]
    count = f"{len(left)} job{'s' * (len(left) != 1)} left"
    if not left or not minutes:
        return count
    ran = sum(time.monotonic() - job.start for job in running if job.new) / 60
    mean = sum(minutes) / len(minutes)
    return f"{count}, about {max(1.0, (mean * len(left) - ran) / min(max_jobs, len(left))):.0f} minutes"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "no output"


def _job_return(job: _Job) -> JobReturn:
    """Return a finished job in Hydra's format: its results, or the last line of its log as an error."""
    assert job.process is not None
    result = JobReturn(overrides=job.overrides, cfg=job.cfg, working_dir=str(Path.cwd()), task_name=job.run.folder.name)
    if job.process.returncode == 0:
        result.return_value, result.status = job.run.results(), JobStatus.COMPLETED
    else:
        result.return_value, result.status = CompactHydraException(_last_line(job.log)), JobStatus.FAILED
    return result
