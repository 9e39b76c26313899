"""Restoration of the images of an object store or a shared folder by a Ray cluster."""

import logging
import math
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from rich.console import Console

from deblurlab.batch.worker import Result, Worker
from deblurlab.errors import UserError, first_sentence
from deblurlab.inference.predictor import Restorer
from deblurlab.media.images import is_hidden
from deblurlab.media.large_images import MAX_PIXELS, RESTORABLE_SUFFIXES
from deblurlab.runs.progress import track
from deblurlab.runs.storage import open_store

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # must be set before Ray is imported

_MAX_BLOCKS = 10_000
"""Maximum number of Ray tasks. Up to this number, a task is one image."""
_MAX_RETRIES = 2
"""Retries of a task whose worker died. Ray's default is unlimited, also for an image that exceeds the memory."""


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """Source, target and options of a restoration by a cluster."""

    source: str
    target: str
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    device: str = "auto"
    """auto, cpu or cuda."""
    workers: int | None = None
    address: str | None = None
    """Address of the cluster; None is RAY_ADDRESS, or else a new cluster on this machine."""
    verbosity: int = 0
    """-1: print failures only; 1: print a line per image too."""


class WorkerPool(NamedTuple):
    """Number of workers and the resources of each."""

    workers: int
    cpus: float
    gpus: float
    threads: int
    device: str


def restore(job: ClusterJob, load: Callable[..., Restorer]) -> int:
    """Restore the images of a store to the same keys of another; print one line for each failure.

    Images whose target exists are skipped, unless `job.overwrite` is set.

    Args:
        job: What to restore.
        load: Returns a restorer for a `device`. It is called here first, so that errors appear early, and once in each
            worker.

    Returns:
        The exit code: 1 if an image failed, otherwise 0.

    Raises:
        UserError: Ray isn't installed, the cluster or the restorer fails, there are no images, or the target contains
            the source.
        OSError: A store can't be read.
    """
    ray = _import_ray()
    source, target = open_store(job.source), open_store(job.target)
    if source.address.startswith(target.address):
        raise UserError(f"{job.target} contains {job.source}, which would be overwritten: choose another -o")
    found = source.keys()
    images = [key for key in found if _is_image(key) and not (source.address + key).startswith(target.address)]
    if not images:
        raise UserError(f"{job.source}: there are no images ({', '.join(sorted(RESTORABLE_SUFFIXES))})")
    existing = set() if job.overwrite else set(target.keys())
    keys = [key for key in images if key not in existing]
    console, failures = Console(stderr=True, highlight=False, soft_wrap=True), 0
    if keys:
        load(device="cpu")
        waiting = set(keys)
        results = _results(ray, job, load, keys)
        for result in track(results, "restoring", len(keys), console=console, disable=job.verbosity < 0):
            waiting.discard(result["key"])
            if result["not_kept"] and job.verbosity >= 0:
                console.print(result["not_kept"], markup=False)
            if job.verbosity > 0 and not result["error"]:
                console.print(f"{result['key']}: restored", markup=False)
            if result["error"]:
                failures += 1
                console.print(f"deblurlab: {result['error']}", markup=False)
        for key in sorted(waiting):
            failures += 1
            cause = "its worker died in every retry, perhaps out of memory: use a smaller --tile"
            console.print(f"deblurlab: {source.address}{key} can't be restored: {cause}", markup=False)
    counts = {"restored": len(keys) - failures, "skipped": len(images) - len(keys), "failed": failures}
    if job.verbosity >= 0:
        done = ", ".join(f"{count} {name}" for name, count in counts.items() if count or name == "restored")
        console.print(f"{done}: {target.address}", markup=False)
    return 1 if failures else 0


def _results(ray: Any, job: ClusterJob, load: Callable[..., Restorer], keys: Sequence[str]) -> Iterator[Result]:
    """Yield the results in any order. Images whose workers died have none.

    Raises:
        UserError: The cluster can't be reached or fails, or one of its machines can't restore any image.
    """
    with redirect_stdout(sys.stderr), _connect(ray, job.address):
        try:
            pool = plan_workers(ray.cluster_resources(), job, len(keys))
            with closing(_run_workers(ray, pool, job, load, keys)) as rows:  # ends the workers before the cluster
                for result in rows:
                    if result["worker_error"]:
                        cause = result["worker_error"]
                        raise UserError(f"{cause} (each machine needs the same weights and packages)")
                    yield result
        except ray.exceptions.RayError as error:
            message = f"the Ray cluster failed: {first_sentence(error)}; run the same command again to continue"
            raise UserError(message) from error


def _run_workers(
    ray: Any, pool: WorkerPool, job: ClusterJob, load: Callable[..., Restorer], keys: Sequence[str]
) -> Any:
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    settings = {"source": job.source, "target": job.target, "max_pixels": job.max_pixels, "threads": pool.threads}
    items = ray.data.from_items([{"key": key} for key in keys], override_num_blocks=min(len(keys), _MAX_BLOCKS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # max_task_retries has no successor yet
        restored = items.map(
            Worker,
            fn_constructor_args=(partial(load, device=pool.device),),
            fn_constructor_kwargs=settings,
            # One image at a time: one that kills its worker takes no waiting ones with it.
            compute=ray.data.ActorPoolStrategy(size=pool.workers, max_tasks_in_flight_per_actor=1),
            num_cpus=pool.cpus,
            num_gpus=pool.gpus,
            max_task_retries=_MAX_RETRIES,
        )
    return iter(restored.iter_rows())


def plan_workers(resources: Mapping[str, float], job: ClusterJob, images: int) -> WorkerPool:
    """Return the workers for a number of images on a cluster with these Ray `resources`.

    The default is one worker per GPU or, without GPUs, per two CPU cores.

    Raises:
        UserError: The cluster can't provide the requested workers or device.
    """
    if job.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {job.device}: --engine ray accepts auto, cpu or cuda; Ray assigns the GPUs")
    if job.workers is not None and job.workers < 1:
        raise UserError(f"--workers must be at least 1, not {job.workers}")
    cpus, gpus = int(resources.get("CPU", 0)), 0 if job.device == "cpu" else int(resources.get("GPU", 0))
    if job.device == "cuda" and not gpus:
        raise UserError("--device cuda: the Ray cluster has no GPU")
    workers = min(images, job.workers or gpus or max(1, cpus // 2))
    cpus_each = 1.0 if workers <= cpus else math.floor(1000 * cpus / workers) / 1000
    gpus_each = 1 / math.ceil(workers / gpus) if gpus else 0.0
    return WorkerPool(workers, cpus_each, gpus_each, max(1, cpus // workers), "cuda" if gpus else "cpu")


def _is_image(key: str) -> bool:
    path = PurePosixPath(key)
    return path.suffix.lower() in RESTORABLE_SUFFIXES and not is_hidden(path)


def _connect(ray: Any, address: str | None) -> Any:
    """Return the connection to a cluster, a context manager."""
    given = address or os.environ.get("RAY_ADDRESS", "")
    host, _, port = given.rpartition(":")
    try:
        if port.isdigit() and "://" not in given:  # fails immediately; Ray would retry for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        return ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        place = f"there is no Ray cluster at {given}" if given else "no Ray cluster can be started"
        raise UserError(f"{place}: {first_sentence(error)}; see --address") from error


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("--engine ray needs Ray: pip install 'deblurlab[ray]'") from error
    return ray
