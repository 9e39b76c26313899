"""The option `--precision`."""

import argparse


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add the option `--precision`."""
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16"],
        default="auto",
        help="auto: bf16 for 8-bit images where it is fast and close enough to fp32 (default: auto)",
    )
