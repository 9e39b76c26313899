"""`train` and `evaluate`, as Hydra runs them. Heavy imports wait until there is work to do."""

import errno
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig

from deblurlab.config import compose as conf
from deblurlab.errors import UserError, user_cause


def train(arguments: list[str]) -> None:
    """Train as Hydra's overrides in `arguments` say."""
    conf.register()
    command = sys.argv

    def job(cfg: DictConfig) -> dict[str, Any]:
        # Lightning starts further processes by repeating the command as it was typed.
        sys.argv = command
        return _train(cfg)

    sys.argv = [command[0], *arguments]
    hydra.main(version_base="1.3", config_path=str(conf.CONF), config_name="train")(job)()


def evaluate(arguments: list[str]) -> None:
    """Measure as Hydra's overrides in `arguments` say; of several jobs, print one table at the end."""
    conf.register()
    sys.argv = [sys.argv[0], *arguments]
    finished: list[Any] = []
    failed = False

    def job(cfg: DictConfig) -> None:
        nonlocal failed
        from deblurlab.evaluation.run import evaluate

        _quieten()
        context = HydraConfig.get()
        options = _choices(context.runtime.choices)
        with _one_line_errors(context.mode, cfg):
            results = evaluate(cfg, overrides=context.overrides.task, options=options)
            if results is None:
                print(f"{cfg.run}: this shard is done, others aren't", file=sys.stderr)
                return
            finished.append(results)
            failed = failed or bool(results["failed"])

    try:
        hydra.main(version_base="1.3", config_path=str(conf.CONF), config_name="evaluate")(job)()
    finally:  # also if one of several jobs has failed
        if finished:
            from deblurlab.reporting import print_comparison

            print_comparison(finished)
    if failed:
        sys.exit(1)


def _train(cfg: DictConfig) -> dict[str, Any]:
    from lightning_utilities.core.rank_zero import rank_zero_only
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    from deblurlab.callbacks.preemption import Preempted
    from deblurlab.reporting import print_results
    from deblurlab.training.run import train

    _quieten()
    context = HydraConfig.get()
    options = _choices(context.runtime.choices)
    with _one_line_errors(context.mode, cfg):
        _check_launcher(cfg, context)
        try:
            results = train(cfg, overrides=context.overrides.task, options=options)
        except (SIGTERMException, Preempted) as end:  # the former would exit with 0
            print(f"deblurlab: terminated; {_same(cfg)} goes on", file=sys.stderr)
            sys.exit(end.code or 128 + signal.SIGTERM)
        except SystemExit as end:
            if isinstance(end.__context__, KeyboardInterrupt):  # of which Lightning makes a 1
                raise KeyboardInterrupt from None
            raise
    if getattr(rank_zero_only, "rank", 0) == 0:
        print_results(results)
    return results


def _check_launcher(cfg: DictConfig, context: Any) -> None:
    in_turn = context.mode == RunMode.MULTIRUN and context.runtime.choices["hydra/launcher"] == "basic"
    if in_turn and str(cfg.trainer.devices) != "1" and "WORLD_SIZE" not in os.environ:
        raise UserError(
            f"trainer.devices={cfg.trainer.devices} in a sweep needs a process of its own for each job, or its further "
            f"processes would run the whole sweep: add hydra/launcher=parallel"
        )


@contextmanager
def _one_line_errors(mode: RunMode | None, cfg: DictConfig) -> Iterator[None]:
    """What the user can mend ends the program, or one of several jobs, with a line."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"deblurlab: interrupted; {_same(cfg)} goes on\n")
        sys.exit(128 + signal.SIGINT)
    except (UserError, InstantiationException, OSError) as error:  # OSError: a disk, a folder, a connection
        message = f"deblurlab: {_one_line(user_cause(error), cfg)}"
        if mode == RunMode.MULTIRUN:  # the other jobs go on, and Hydra tells of one that has failed at their end
            print(message, file=sys.stderr)
            raise CompactHydraException(message) from None
        sys.exit(message)


def _choices(choices: Mapping[str, str]) -> dict[str, str]:
    """The chosen option of each group that a user chooses from."""
    return {group: option for group, option in choices.items() if not group.startswith(("hydra/", "factors@"))}


def _quieten() -> None:
    """Leave out what Lightning says without being asked."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # its devices, its tips, its advertisements
    for message in (
        "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # its own code, pytorch-lightning 2.6.6 on torch 2.15
        "The '\\w+' does not have many workers",  # the user's choice
        "Total length of `list` across ranks is zero",  # a data set without validation pairs
        "Found \\d+ module\\(s\\) in eval mode at the start of training",  # those inside loss terms belong there
        "You're resuming from a checkpoint that ended before the epoch ended",  # samples are a function of the step
        "Detected call of `lr_scheduler.step\\(\\)` before",  # of an adversary that comes into play later
        "The number of training batches .* is smaller than the logging interval",  # metrics of every step aren't needed
    ):
        warnings.filterwarnings("ignore", message=message)


def _same(cfg: DictConfig) -> str:
    """The command that goes on with what this one has left."""
    return "the same command without fresh=true" if cfg.fresh else "the same command"


def _one_line(error: BaseException, cfg: DictConfig) -> str:
    """The message itself, also where a loader's worker has wrapped it into its traceback."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full ({error}): make room; {_same(cfg)} goes on from where it was kept last"
    return str(error).rsplit(f"{UserError.__module__}.{UserError.__qualname__}: ", 1)[-1].strip()
