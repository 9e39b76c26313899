"""OmegaConf resolvers that the configuration files use; importing this module registers them."""

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import OmegaConf

from deblurlab._compat import hydra_group_options, hydra_groups, register_resolver
from deblurlab.config.search_path import CONF, SWEEPS

_NOT_IN_NAME = {"fresh", "name", "runs", "shard", "sweep", "trust"}
"""Overrides that don't change the results of a run."""
_MAX_NAME = 120


def run_name(name: str | None, overrides: Sequence[str]) -> str:
    """Return the name of a run's folder: `name`, or a slug of the overrides that doesn't depend on their order.

    Choices of options come before values, since a slug that is too long is cut at the end and gets a hash.

    >>> run_name(None, ["model=unet", "data.train=8", "loss=l1+0.1*vgg"])
    'loss-l1+0.1xvgg_model-unet_data.train-8'
    """
    if name is not None:
        return name
    parts = [o for o in overrides if o.lstrip("+~").partition("=")[0] not in _NOT_IN_NAME]
    plain = [re.sub(r"^~", "without-", re.sub(r"^\++", "", part)) for part in sorted(parts, key=_sort_key)]
    slug = "_".join(re.sub(r"[^\w.+-]+", "-", part.replace("*", "x")).strip("-") for part in plain)
    if len(slug) > _MAX_NAME:
        slug = f"{slug[: _MAX_NAME - 10]}-{hashlib.sha256(slug.encode()).hexdigest()[:8]}"
    return slug or "default"


def run_folder(name: str, runs: str, mode: RunMode | None, run: Mapping[str, str], sweep: Mapping[str, str]) -> str:
    """Return the folder of a run: `runs/name`, unless `hydra.run.dir` or, in a sweep, `hydra.sweep.dir` is given.

    Args:
        name: Name of the run; `hydra.sweep.subdir` replaces it.
        runs: Folder of the runs.
        mode: Mode of Hydra; None outside of its command line.
        run: The node `hydra.run`; its `dir` is "." by default.
        sweep: The node `hydra.sweep`; its `dir` is `runs` and its `subdir` "." by default.

    >>> run_folder("mine", "runs", RunMode.RUN, {"dir": "."}, {})
    'runs/mine'
    >>> run_folder("mine", "runs", RunMode.MULTIRUN, {}, {"dir": "sweep", "subdir": "."})
    'sweep/mine'
    """
    if mode == RunMode.MULTIRUN:
        return f"{sweep['dir']}/{name if sweep['subdir'] == '.' else sweep['subdir']}"
    return f"{runs}/{name}" if run["dir"] == "." else run["dir"]


def _sort_key(override: str) -> tuple[bool, str]:
    return "." in override.partition("=")[0], override


def evenly(limit: int, steps: int) -> int:
    """Return the largest interval up to `limit` that divides `steps` (nearly), or `limit` if `steps` is unknown (-1).

    >>> evenly(1000, 2500)
    833
    """
    return steps // -(-steps // limit) if steps > 0 else limit


def steps(minutes: float, per_minute: float) -> int:
    """Return the number of steps of a training with a budget of time, at least one.

    Raises:
        ConfigCompositionException: A value isn't a number above 0.

    >>> steps(1.5, 101)
    151
    """
    for value in (minutes, per_minute):
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ConfigCompositionException(f"minutes={minutes} and steps_per_minute must be numbers above 0")
    return max(1, int(minutes * per_minute))


def processes(devices: Any) -> int:
    """Return the number of processes per machine for `trainer.devices`, without looking at the machine's devices.

    Raises:
        ConfigCompositionException: `devices` is "auto" or -1, which only the machine can resolve.
    """
    if OmegaConf.is_list(devices):
        return len(devices)
    if not str(devices).isdigit() or int(devices) < 1:
        raise ConfigCompositionException(
            f"trainer.devices={devices}: a cluster needs the number of devices, trainer.devices=4"
        )
    return int(devices)


def gpus(accelerator: str, devices: Any) -> int | None:
    """Return the number of GPUs per machine of a cluster, None for the CPU."""
    return None if accelerator == "cpu" else processes(devices)


def command(name: str) -> str:
    """Return how the command `train` or `evaluate` was called, for the examples of its help."""
    return f"python {name}.py" if Path(sys.argv[0]).name == f"{name}.py" else f"deblurlab {name}"


def option_list(choices: Mapping[str, object], others: Sequence[str]) -> str:
    """Return a line per config group with its options, for the help of a command.

    Args:
        choices: Chosen option of each group of the command's defaults list.
        others: Further groups of the command. The user's own groups are listed too.
    """
    shipped = {path.name for root in (CONF, SWEEPS) for path in root.iterdir()}
    groups = [name for name in hydra_groups() if name in choices or name in others or name not in shipped]
    return "\n".join(f"{name}: {', '.join(hydra_group_options(name))}" for name in sorted(groups))


# At import, so that the process of a cluster's job, which Hydra doesn't start, can read the configuration too.
for _function in (run_name, run_folder, evenly, steps, processes, gpus, command, option_list):
    register_resolver(_function.__name__, _function)
