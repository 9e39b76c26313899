"""Measure anything that restores images: python evaluate.py restorer=wiener data=synthetic"""

import sys

from deblurlab.cli import evaluate

if __name__ == "__main__":
    evaluate(sys.argv[1:])
