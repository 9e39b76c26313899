"""The command line. Heavy imports wait until there is work to do."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException

from deblurlab.cli.hydra_commands import evaluate, train
from deblurlab.cli.models import export, restore, serve, weights
from deblurlab.errors import UserError, user_cause

__all__ = ["dashboard", "data", "evaluate", "export", "main", "report", "restore", "serve", "train", "weights"]

_USAGE = """usage: deblurlab <command> [...]

commands:
  train    train a model; takes Hydra overrides, e.g. deblurlab train model=unet_res loss=l1+vgg+adv
           (deblurlab train --help lists them)
  evaluate measure a model or a classical method: deblurlab evaluate restorer=wiener data=synthetic
  restore  deblur photographs, folders and videos: deblurlab restore photos -o restored
  serve    a page to restore photographs on: deblurlab serve
  data     data sets: check, pack, show, average; deblurlab data --help
  report   tables of evaluations and sweeps, and whether two differ: deblurlab report compare A B
  dashboard
           a W&B workspace and an ablation report: deblurlab dashboard show --entity me
  export   make a release of a finished run: deblurlab export RUN -o FOLDER
  weights  make a release of weights that another project has published:
           deblurlab weights convert FILE --model nafnet_32
"""


def main() -> None:
    """`deblurlab <command>`."""
    commands: dict[str, Callable[[list[str]], None]] = {
        "train": train,
        "evaluate": evaluate,
        "restore": restore,
        "serve": serve,
        "report": report,
        "export": export,
        "weights": weights,
        "data": data,
        "dashboard": dashboard,
    }
    arguments = sys.argv[1:]
    if arguments and arguments[0] in commands:
        commands[arguments[0]](arguments[1:])
    elif not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
    else:
        sys.exit(f"deblurlab: there is no command {arguments[0]}\n\n{_USAGE}")


def report(arguments: list[str]) -> None:
    """Tables of finished evaluations, and whether two of them differ."""
    parser = argparse.ArgumentParser("deblurlab report", description=report.__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    table = commands.add_parser("table", help="one table of several evaluations")
    table.add_argument("runs", type=Path, nargs="+", help="their folders")
    table.add_argument("--format", choices=["terminal", "markdown", "latex", "csv", "html"], default="terminal")
    table.add_argument("-o", "--output", type=Path, help="a file instead of the terminal")
    comparing = commands.add_parser("compare", help="the difference of two evaluations, with its 95 %% interval")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    sweep = commands.add_parser("sweep", help="the ablation table of a sweep, and its page in the folder")
    sweep.add_argument("folder", type=Path, help="what the sweep's runs lie in")
    sweep.add_argument("--baseline", nargs="+", default=[], metavar="KEY=VALUE", help="what others are compared with")
    sweep.add_argument("--format", choices=["terminal", "markdown", "latex", "csv", "html"], default="terminal")
    sweep.add_argument("-o", "--output", type=Path, help="a file instead of the terminal")
    sweep.add_argument("--watch", action="store_true", help="print it again every half minute, until interrupted")
    options = parser.parse_args(arguments)
    from deblurlab.reporting import commands as reports

    try:
        if options.command == "compare":
            reports.compare(options.first, options.second)
        elif options.command == "sweep" and options.watch:
            reports.watch(options.folder, options.baseline)
        elif options.command == "sweep":
            reports.sweep(options.folder, options.format, options.output, options.baseline)
        else:
            reports.table(options.runs, options.format, options.output)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (UserError, OSError) as error:
        sys.exit(f"deblurlab: {user_cause(error)}")


def dashboard(arguments: list[str]) -> None:
    """A W&B workspace for the runs of a project and, of a sweep, a report of what a setting is good for."""
    parser = argparse.ArgumentParser("deblurlab dashboard", description=dashboard.__doc__)
    parser.add_argument("action", choices=["show", "create"], help="print as JSON what would be made, or make it")
    parser.add_argument("--entity", required=True, help="a user or a team of W&B's")
    parser.add_argument("--project", default="deblurlab", help="the runs' logger.wandb.project")
    parser.add_argument("--metrics", nargs="+", default=["psnr", "ssim"], help="what the validations measure")
    parser.add_argument("--sweep", metavar="FOLDER", help="where the sweep's runs lie, such as runs/losses")
    parser.add_argument("--by", default="options.loss", metavar="KEY", help="of the config: what the sweep varies")
    options = parser.parse_args(arguments)
    try:
        from deblurlab.reporting import dashboard as boards

        made: list[Any] = [boards.workspace(options.entity, options.project, options.metrics)]
        if options.sweep is not None:
            made += [boards.ablation(options.entity, options.project, options.metrics, options.sweep, options.by)]
        print(boards.show(made) if options.action == "show" else "\n".join(boards.create(made)))
    except UserError as error:
        sys.exit(f"deblurlab: {error}")


def data(arguments: list[str]) -> None:
    """Data sets."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    from deblurlab.cli import data as data_commands

    try:
        sys.exit(data_commands.run(arguments))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (UserError, InstantiationException, OSError) as error:
        sys.exit(f"deblurlab: {user_cause(error)}")
