"""Damaged and hostile releases: `make fuzz`, or this file with libFuzzer's options and folders of inputs."""

import sys

import atheris
import torch  # noqa: F401 - it isn't what is fuzzed

with atheris.instrument_imports(include=["deblurlab", "safetensors"]):
    import targets

if __name__ == "__main__":
    atheris.Setup(sys.argv, targets.release)
    atheris.Fuzz()
