"""`deblurlab export`."""

import argparse
import sys
from pathlib import Path

from deblurlab.cli.exit_codes import exit_with_message
from deblurlab.cli.trust import add_trust


def export(arguments: list[str]) -> None:
    """Write a trained generator as a release, an ONNX file or a torch.export program."""
    options = _parser().parse_args(arguments)
    with exit_with_message():
        if options.format == "release":
            _export_release(options)
        else:
            _export_program(options)
        print(options.output)


def _parser() -> argparse.ArgumentParser:
    description = "Write a trained generator as a release, an ONNX file or a torch.export program."
    parser = argparse.ArgumentParser("deblurlab export", description=description)
    parser.add_argument("run", type=Path, help="run folder; for onnx and torch_export also a release or a checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the release, or file to write")
    parser.add_argument(
        "--format",
        choices=["release", "onnx", "torch_export"],
        default="release",
        help="release: safetensors and JSON (default); onnx: for ONNX Runtime; torch_export: for torch.export.load. "
        "The last two accept images of any size",
    )
    parser.add_argument("--half", action="store_true", help="store the weights in 16 bits")
    add_trust(parser)
    return parser


def _export_release(options: argparse.Namespace) -> None:
    from deblurlab.checkpoints.load import generator_weights
    from deblurlab.checkpoints.release import release_run
    from deblurlab.runs.folder import Run

    release_run(options.output, Run(options.run), generator_weights(options.run, exact=True), half=options.half)


def _export_program(options: argparse.Namespace) -> None:
    from deblurlab.checkpoints.load import load_model
    from deblurlab.inference.bundled import weights_folder
    from deblurlab.inference.export import export_onnx, export_program

    generator = load_model(weights_folder(options.run), trust=options.trust)
    write = export_onnx if options.format == "onnx" else export_program
    difference = write(generator, options.output, half=options.half)
    print(f"maximum difference from PyTorch: {difference:.2g}, for images in [0, 1]", file=sys.stderr)
