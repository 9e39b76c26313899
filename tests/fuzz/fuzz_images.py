"""Fuzzing of image files with Atheris: `make fuzz`, or this script with libFuzzer's options and folders of inputs."""

import sys

import atheris

with atheris.instrument_imports(include=["deblurlab.media"]):
    import targets

if __name__ == "__main__":
    atheris.Setup(sys.argv, targets.images)
    atheris.Fuzz()
