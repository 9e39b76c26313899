"""Measure anything that restores images: python evaluate.py restorer=wiener data=synthetic"""

import sys

from deblurlab.cli.main import evaluate

if __name__ == "__main__":
    evaluate(sys.argv[1:])
