"""`deblurlab weights convert`."""

import argparse
from pathlib import Path

from deblurlab.cli.exit_codes import exit_with_message


def weights(arguments: list[str]) -> None:
    """Convert weights published by another project into a release."""
    options = make_parser().parse_args(arguments)
    output = options.output or Path(options.file.stem)
    with exit_with_message():
        from deblurlab.checkpoints.convert import convert

        convert(options.file, options.model, output, options.set)
        print(output)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    description = "Convert weights published by other projects into a release."
    parser = argparse.ArgumentParser("deblurlab weights", description=description)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("convert", help="convert a downloaded checkpoint", description=description)
    command.add_argument("file", type=Path, help="downloaded checkpoint")
    command.add_argument("--model", required=True, help="architecture: an option of the config group model")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="argument of the architecture, such as width=64"
    )
    command.add_argument("-o", "--output", type=Path, help="folder of the release (default: the file's name)")
    return parser
