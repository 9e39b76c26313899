"""Dispatch of `deblurlab <command>`. A command's module is imported only when the command runs."""

import io
import sys
from importlib import import_module

from deblurlab import __version__
from deblurlab.errors import did_you_mean

_MODULES = {
    "train": "hydra_commands",
    "evaluate": "hydra_commands",
    "restore": "restore",
    "serve": "serve",
    "data": "data",
    "report": "report",
    "dashboard": "report",
    "export": "export",
    "weights": "convert",
}
"""Module below `deblurlab.cli` by command; it holds a function with the command's name."""

_USAGE = """usage: deblurlab <command> [...]
       deblurlab --version
       deblurlab --print-completion {bash,zsh}

commands:
  train      train a model with Hydra overrides: deblurlab train model=unet_res loss=l1+vgg+adv
             (deblurlab train --help lists the options)
  evaluate   measure a restorer on a data set: deblurlab evaluate restorer=wiener data=synthetic
  restore    deblur images, folders and videos: deblurlab restore photos -o restored
  serve      start a web page and an HTTP API for restoring: deblurlab serve
  data       check, pack, show and average data sets: deblurlab data --help
  report     print tables and comparisons of evaluations and sweeps: deblurlab report compare A B
  dashboard  create a W&B workspace and an ablation report: deblurlab dashboard show --entity me
  export     write a release or an ONNX file from a finished run: deblurlab export RUN -o FOLDER
  weights    convert weights published by other projects into a release:
             deblurlab weights convert FILE --model nafnet_32
"""


def main() -> None:
    """Run the command that `sys.argv` names."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE)
        return
    command = arguments[0]
    if command == "--version":
        print(f"deblurlab {__version__}")
        return
    if command == "--print-completion":
        from deblurlab.cli.completion import print_completion

        print_completion(arguments[1:])
        return
    if command not in _MODULES:
        options = ["--version", "--print-completion", "--help"]
        hint = did_you_mean(command, [*_MODULES, *options]) or f"known: {', '.join(_MODULES)}"
        print(f"deblurlab: there is no command {command}: {hint} (deblurlab --help describes them)", file=sys.stderr)
        sys.exit(2)  # as argparse does
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may have any bytes
    module = import_module(f"deblurlab.cli.{_MODULES[command]}")
    getattr(module, command)(arguments[1:])
