"""`deblurlab report` and `deblurlab dashboard`."""

import argparse
from pathlib import Path
from typing import Any

from deblurlab.cli.exit_codes import exit_with_message


def report(arguments: list[str]) -> None:
    """Print tables of evaluations and sweeps, and comparisons of two evaluations."""
    options = report_parser().parse_args(arguments)
    with exit_with_message():
        from deblurlab.reporting import commands

        if options.command == "compare":
            commands.compare(options.first, options.second)
        elif options.command == "table":
            commands.table(options.runs, options.format, options.output)
        elif options.command == "index":
            commands.index(options.folder)
        elif options.watch:
            commands.watch(options.folder, options.baseline)
        else:
            commands.sweep(options.folder, options.format, options.output, options.baseline)


def report_parser() -> argparse.ArgumentParser:
    """Return the parser of `deblurlab report`."""
    description = "Print tables of evaluations and sweeps, and comparisons of two evaluations."
    parser = argparse.ArgumentParser("deblurlab report", description=description)
    commands = parser.add_subparsers(required=True, dest="command")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    table = command("table", "print one table of several evaluations and trainings")
    table.add_argument("runs", type=Path, nargs="+", help="folders of the evaluations and trainings")
    compare = command("compare", "print the difference between two evaluations with its 95 %% confidence interval")
    compare.add_argument("first", type=Path, help="folder of an evaluation")
    compare.add_argument("second", type=Path, help="folder of the evaluation that is compared with the first")
    sweep = command("sweep", "print the ablation table of a sweep and write its page, report.html, into the folder")
    sweep.add_argument("folder", type=Path, help="folder of the sweep's runs")
    text = "configuration that the others are compared with"
    sweep.add_argument("--baseline", nargs="+", default=[], metavar="KEY=VALUE", help=text)
    index = command("index", "write one page over all runs below a folder into it, index.html")
    index.add_argument("folder", type=Path, help="folder that contains runs, such as runs")
    for added in (table, sweep):
        formats = ["terminal", "markdown", "latex", "csv", "html"]
        added.add_argument("--format", choices=formats, default="terminal", help="default: terminal")
        added.add_argument("-o", "--output", type=Path, help="write to a file instead of the terminal")
    sweep.add_argument("--watch", action="store_true", help="print the table every 30 seconds until interrupted")
    return parser


def dashboard(arguments: list[str]) -> None:
    """Create a W&B workspace for a project's runs, and a report of a sweep's ablation."""
    options = dashboard_parser().parse_args(arguments)
    with exit_with_message():
        from deblurlab.reporting import dashboard as wandb_dashboard

        pages: list[Any] = [wandb_dashboard.workspace(options.entity, options.project, options.metrics)]
        if options.sweep is not None:
            settings = options.entity, options.project, options.metrics, options.sweep, options.by
            pages.append(wandb_dashboard.ablation(*settings))
        if options.action == "show":
            print(wandb_dashboard.show(pages))
        else:
            print("\n".join(wandb_dashboard.create(pages)))


def dashboard_parser() -> argparse.ArgumentParser:
    """Return the parser of `deblurlab dashboard`."""
    description = "Create a W&B workspace for a project's runs and, for a sweep, a report of its ablation."
    parser = argparse.ArgumentParser("deblurlab dashboard", description=description)
    add = parser.add_argument
    add("action", choices=["show", "create"], help="print the definition as JSON, or create it on W&B")
    add("--entity", required=True, help="W&B user or team")
    add("--project", default="deblurlab", help="value of logger.wandb.project of the runs (default: deblurlab)")
    add(
        "--metrics",
        nargs="+",
        default=["psnr", "ssim"],
        help="validation metrics (default: psnr ssim)",
    )
    add("--sweep", metavar="FOLDER", help="folder of the sweep's runs, such as runs/losses")
    add("--by", default="options.loss", metavar="KEY", help="config key that the sweep varies (default: options.loss)")
    return parser
