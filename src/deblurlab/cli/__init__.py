"""Command line: argument parsing. `main` is the console script."""

from deblurlab.cli.main import main

__all__ = ["main"]
