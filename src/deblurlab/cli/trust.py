"""The option `--trust` of the commands that load weights."""

import argparse

_HELP = (
    "package or class outside of deblurlab that the weights may name; it is imported and run. Repeat the option for "
    "several, or set DEBLURLAB_TRUST=NAME,NAME for all commands"
)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option to a command's parser."""
    parser.add_argument("--trust", action="append", default=[], metavar="NAME", help=_HELP)
