"""`deblurlab train` and `deblurlab evaluate`, run by Hydra. Torch and Lightning are imported when a job starts."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from deblurlab import config
from deblurlab._compat import hydra_version_base
from deblurlab.cli.exit_codes import exit_with_message
from deblurlab.config.misspellings import check_added, explain
from deblurlab.config.overrides import check_syntax
from deblurlab.dataloading.fork_server import start_fork_server
from deblurlab.errors import UserError

_IGNORED_WARNINGS = (
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # pytorch-lightning 2.6.6 calls torch 2.15 this way
    "The '\\w+' does not have many workers",  # the number of workers is the user's choice
    "Total length of `list` across ranks is zero",  # a data set may have no validation pairs
    "Found \\d+ module\\(s\\) in eval mode at the start of training",  # networks inside loss terms are in eval mode
    "You're resuming from a checkpoint that ended before the epoch ended",  # samples depend on the step alone
    "Detected call of `lr_scheduler.step\\(\\)` before",  # a discriminator may start later than the generator
    "The number of training batches .* is smaller than the logging interval",  # short runs log few steps
)
_FLAGS_WITH_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--experimental-rerun", "--info", "-i"),
}
"""Flags of Hydra that take the next argument as their value."""
_FULL_ERROR = "HYDRA_FULL_ERROR"


def train(arguments: list[str]) -> None:
    """Train with the Hydra overrides `arguments`."""
    config.register()
    command = sys.argv

    def job(cfg: DictConfig) -> dict[str, Any]:
        sys.argv = command  # Lightning starts the further DDP processes by running sys.argv again
        return _train(cfg)

    sys.argv = [command[0], *_overrides_first(arguments)]
    _run_hydra("train", job)


def evaluate(arguments: list[str]) -> None:
    """Evaluate with the Hydra overrides `arguments`; after several jobs, print one table."""
    config.register()
    sys.argv = [sys.argv[0], *_overrides_first(arguments)]
    finished: list[dict[str, Any]] = []

    def job(cfg: DictConfig) -> None:
        from deblurlab.evaluation.run import evaluate

        _silence_lightning()
        context = HydraConfig.get()
        options = _group_options(context.runtime.choices)
        with _job_errors(context.mode, cfg):
            check_added(context.overrides.task, context.runtime.choices, cfg)
            results = evaluate(cfg, overrides=context.overrides.task, options=options)
            if results is None:
                print(f"{cfg.run}: this shard is finished, other shards are not", file=sys.stderr)
            else:
                finished.append(results)

    try:
        _run_hydra("evaluate", job)
    finally:  # also if one of several jobs has failed
        if finished:
            from deblurlab.reporting import print_comparison

            print_comparison(finished)
    if any(results["failed"] for results in finished):
        sys.exit(1)


def _run_hydra(name: str, job: Callable[[DictConfig], Any]) -> None:
    """Run Hydra's command line; print its errors in one line, unless HYDRA_FULL_ERROR=1 asks for tracebacks."""
    with_traceback = os.environ.get(_FULL_ERROR)
    os.environ[_FULL_ERROR] = "1"  # Hydra's entry point raises errors instead of printing them in several lines
    try:
        hydra.main(config_path=str(config.CONF), config_name=name, **hydra_version_base())(job)()
    except HydraException as error:
        if with_traceback == "1":
            raise
        print(f"deblurlab: {explain(error).removeprefix('deblurlab: ')}", file=sys.stderr)
        sys.exit(1)
    finally:
        if with_traceback is None:
            del os.environ[_FULL_ERROR]
        else:
            os.environ[_FULL_ERROR] = with_traceback


def _train(cfg: DictConfig) -> dict[str, Any]:
    if cfg.loader.workers != 0:
        start_fork_server()

    from lightning_utilities.core.rank_zero import rank_zero_only
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    from deblurlab.callbacks.preemption import Preempted
    from deblurlab.reporting import print_results
    from deblurlab.training.run import train

    _silence_lightning()
    context = HydraConfig.get()
    options = _group_options(context.runtime.choices)
    with _job_errors(context.mode, cfg):
        check_added(context.overrides.task, context.runtime.choices, cfg)
        _check_launcher(cfg, context)
        try:
            results = train(cfg, overrides=context.overrides.task, options=options)
        except (SIGTERMException, Preempted) as end:  # SIGTERMException has the exit code 0
            print(f"deblurlab: terminated; {_resume_hint(cfg)}", file=sys.stderr)
            sys.exit(end.code or 128 + signal.SIGTERM)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # Lightning exits with 1 after Ctrl-C
                raise KeyboardInterrupt from None
            raise
    if getattr(rank_zero_only, "rank", 0) == 0:
        print_results(results)
    return results


def _check_launcher(cfg: DictConfig, context: Any) -> None:
    """Raise UserError if a sweep would start DDP processes from its own process."""
    sequential = context.mode == RunMode.MULTIRUN and context.runtime.choices["hydra/launcher"] == "basic"
    if sequential and str(cfg.trainer.devices) != "1" and "WORLD_SIZE" not in os.environ:
        raise UserError(
            f"trainer.devices={cfg.trainer.devices} in a sweep needs a separate process for each job, because each "
            f"further process would run the whole sweep: add hydra/launcher=parallel"
        )


def _overrides_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with overrides before flags: Hydra's parser refuses overrides on both sides of a flag.

    Raises:
        SystemExit: An override can't be parsed.
    """
    flags, overrides = list[str](), list[str]()
    for previous, argument in pairwise(["", *arguments]):
        is_flag = argument.startswith("-") or previous in _FLAGS_WITH_VALUE
        (flags if is_flag else overrides).append(argument)
    with exit_with_message():
        check_syntax(overrides)
    return [*overrides, *flags]


@contextmanager
def _job_errors(mode: RunMode | None, cfg: DictConfig) -> Iterator[None]:
    """End a job with one line instead of a traceback; in a sweep, only this job ends."""
    hint = _resume_hint(cfg)
    try:
        # Lightning and submitit handle SIGTERM.
        with exit_with_message(
            on_interrupt=f"interrupted; {hint}", on_full_disk=f"free space, then {hint}", handle_sigterm=False
        ):
            yield
    except SystemExit as end:
        if mode != RunMode.MULTIRUN or not isinstance(end.code, str):
            raise
        print(end.code, file=sys.stderr)
        raise CompactHydraException(end.code) from None  # Hydra reports the failed job after the others


def _group_options(choices: Mapping[str, str]) -> dict[str, str]:
    """Return the chosen option of each config group, without Hydra's own groups."""
    return {group: option for group, option in choices.items() if not group.startswith(("hydra/", "factors@"))}


def _silence_lightning() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # hides devices, tips and advertisements
    for message in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)


def _resume_hint(cfg: DictConfig) -> str:
    return f"run the same command{' without fresh=true' if cfg.fresh else ''} again to resume"
