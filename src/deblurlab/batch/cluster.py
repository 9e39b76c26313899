"""`deblurlab restore --engine ray`: the pictures of an object store or a shared folder, restored by a Ray cluster."""

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
from rich.progress import track

from deblurlab.batch.worker import Outcome, Worker
from deblurlab.errors import UserError, first_sentence
from deblurlab.inference.predictor import Restorer
from deblurlab.media.images import SUFFIXES
from deblurlab.media.large_images import MAX_PIXELS
from deblurlab.runs.storage import open_store

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before ray is imported, which would call home

_BLOCKS = 10_000
"""A task is one picture, unless there are more than this; it is begun again if its worker dies."""
_RETRIES = 2
"""Of a task whose worker died. Ray would go on for ever with a picture that is too large for its worker's memory."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a cluster is to do."""

    source: str
    target: str
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    device: str = "auto"
    workers: int | None = None
    address: str | None = None
    """Of the cluster; None is that of RAY_ADDRESS, or a new one on this machine."""


class Crew(NamedTuple):
    """How many workers there are, and what each of them gets."""

    workers: int
    cpus: float
    gpus: float
    threads: int
    device: str


def restore(job: Job, load: Callable[..., Restorer]) -> int:
    """Restore the pictures at a place to another, with the same keys; those that are there already are left alone. A
    line on standard error for each that can't be. Returns the exit code: 0, or 1 if there is one.

    Args:
        job: What to do, and where.
        load: Makes a network, given a `device`; called here, to see whether it can, and once by each worker.

    Raises:
        UserError: Ray isn't installed, the cluster can't be reached or fails, the network can't be loaded, or there are
            no pictures, or a place for them that would overwrite others.
        OSError: A place can't be read.
    """
    ray = _ray()
    source, target = open_store(job.source), open_store(job.target)
    if source.address.startswith(target.address):
        raise UserError(f"{job.target} holds {job.source}, which would be overwritten: choose another place with -o")
    found = source.keys()
    keys = [key for key in found if _is_picture(key) and not (source.address + key).startswith(target.address)]
    if not keys:
        raise UserError(f"{job.source}: there are no images ({', '.join(sorted(SUFFIXES))})")
    done = set() if job.overwrite else set(target.keys())
    todo = [key for key in keys if key not in done]
    console, failures = Console(stderr=True, highlight=False, soft_wrap=True), 0
    if todo:
        load(device="cpu")
        waiting = set(todo)
        outcomes = _outcomes(ray, job, load, todo)
        for outcome in track(outcomes, "restoring", len(todo), console=console, disable=not console.is_terminal):
            waiting.discard(outcome["key"])
            if outcome["error"]:
                failures += 1
                console.print(f"deblurlab: {outcome['error']}", markup=False)
        for key in sorted(waiting):
            failures += 1
            line = "its worker died each time, of too little memory perhaps: a smaller --tile needs less"
            console.print(f"deblurlab: {source.address}{key} can't be restored: {line}", markup=False)
    counts = {"restored": len(todo) - failures, "done before": len(keys) - len(todo), "failed": failures}
    console.print(", ".join(f"{n} {what}" for what, n in counts.items() if n or what == "restored"))
    return 1 if failures else 0


def _outcomes(ray: Any, job: Job, load: Callable[..., Restorer], keys: Sequence[str]) -> Iterator[Outcome]:
    """What becomes of each picture, in any order; those that workers died of are missing.

    Raises:
        UserError: The cluster can't be reached or fails, or one of its machines can't restore anything.
    """
    with redirect_stdout(sys.stderr), _connected(ray, job.address):
        try:
            team = crew(ray.cluster_resources(), job, len(keys))
            with closing(_rows(ray, team, job, load, keys)) as rows:  # the workers end before the cluster does
                for outcome in rows:
                    if outcome["useless"]:
                        raise UserError(f"{outcome['useless']} (each machine needs the same weights and packages)")
                    yield outcome
        except ray.exceptions.RayError as error:
            raise UserError(f"the Ray cluster failed: {first_sentence(error)}; the same command goes on") from error


def _rows(ray: Any, team: Crew, job: Job, load: Callable[..., Restorer], keys: Sequence[str]) -> Any:
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    places = {"source": job.source, "target": job.target, "max_pixels": job.max_pixels, "threads": team.threads}
    items = ray.data.from_items([{"key": key} for key in keys], override_num_blocks=min(len(keys), _BLOCKS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of max_task_retries, for which there is nothing else yet
        restored = items.map(
            Worker,
            fn_constructor_args=(partial(load, device=team.device),),
            fn_constructor_kwargs=places,
            compute=ray.data.ActorPoolStrategy(size=team.workers),
            num_cpus=team.cpus,
            num_gpus=team.gpus,
            max_task_retries=_RETRIES,
        )
    return iter(restored.iter_rows())


def crew(resources: Mapping[str, float], job: Job, pictures: int) -> Crew:
    """Who restores so many pictures on a cluster that has `resources`, as Ray counts them.

    Raises:
        UserError: The workers or the device that are asked for can't be had.
    """
    if job.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {job.device}: --engine ray takes auto, cpu or cuda; Ray says which GPU is whose")
    if job.workers is not None and job.workers < 1:
        raise UserError(f"--workers {job.workers} is no number of workers")
    cpus, gpus = int(resources.get("CPU", 0)), 0 if job.device == "cpu" else int(resources.get("GPU", 0))
    if job.device == "cuda" and not gpus:
        raise UserError("--device cuda: the Ray cluster has no GPU")
    workers = min(pictures, job.workers or gpus or max(1, cpus // 2))
    each = 1.0 if workers <= cpus else math.floor(1000 * cpus / workers) / 1000
    share = 1 / math.ceil(workers / gpus) if gpus else 0.0
    return Crew(workers, each, share, max(1, cpus // workers), "cuda" if gpus else "cpu")


def _is_picture(key: str) -> bool:
    path = PurePosixPath(key)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _connected(ray: Any, address: str | None) -> Any:
    """A cluster, until it is left."""
    given = address or os.environ.get("RAY_ADDRESS", "")
    host, _, port = given.rpartition(":")
    try:
        if port.isdigit() and "://" not in given:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()  # Ray itself tries for minutes
        return ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(
            f"there is no Ray cluster at {given or 'hand'}: {first_sentence(error)}; see --address"
        ) from error


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise UserError("--engine ray needs Ray: pip install 'deblurlab[ray]'") from error
    return ray
