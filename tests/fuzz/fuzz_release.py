"""Fuzzing of releases with Atheris: `make fuzz`, or this script with libFuzzer's options and folders of inputs."""

import sys

import atheris
import torch  # noqa: F401 - before the instrumentation, since torch isn't fuzzed

with atheris.instrument_imports(include=["deblurlab", "safetensors"]):
    import targets

if __name__ == "__main__":
    atheris.Setup(sys.argv, targets.release)
    atheris.Fuzz()
