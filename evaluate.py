"""Evaluate a restorer on a data set: `python evaluate.py restorer=wiener data=synthetic`."""

import sys

from deblurlab.cli.hydra_commands import evaluate

if __name__ == "__main__":
    evaluate(sys.argv[1:])
