"""`deblurlab export`."""

import argparse
import sys
import tempfile
from pathlib import Path

from deblurlab.cli.exit_codes import exit_with_message
from deblurlab.cli.trust import add_trust
from deblurlab.errors import UserError


def export(arguments: list[str]) -> None:
    """Write a trained generator as a release, an ONNX file or a torch.export program."""
    options = _parse(arguments)
    with exit_with_message():
        if options.format == "release":
            _export_release(options)
        else:
            _export_program(options)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    description = "Write a trained generator as a release, an ONNX file or a torch.export program."
    parser = argparse.ArgumentParser("deblurlab export", description=description)
    parser.add_argument("run", help="run folder; for onnx and torch_export also a release or a checkpoint")
    parser.add_argument("-o", "--output", type=Path, help="folder of the release, or file to write")
    parser.add_argument(
        "--format",
        choices=["release", "onnx", "torch_export"],
        default="release",
        help="release: safetensors and JSON (default); onnx: for ONNX Runtime; torch_export: for torch.export.load. "
        "The last two accept images of any size",
    )
    parser.add_argument("--half", action="store_true", help="store the weights in 16 bits")
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the release to this repository on the hub")
    parser.add_argument("--license", help="licence of the weights, such as mit, for the model card")
    add_trust(parser)
    return parser


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.output is None and options.push is None:
        parser.error("there is no destination: add -o FOLDER, or --push owner/name")
    if options.format != "release" and (options.output is None or options.push or options.license):
        parser.error(f"--format {options.format} requires -o FILE, without --push and --license")
    return options


def _export_release(options: argparse.Namespace) -> None:
    from deblurlab.checkpoints.hub import create_repository, upload
    from deblurlab.checkpoints.load import generator_weights
    from deblurlab.checkpoints.release import release_run
    from deblurlab.reporting.card import model_card
    from deblurlab.runs.folder import Run

    run, push = Run(Path(options.run)), options.push
    address = str(options.output) if push is None else f"hf://{push}"
    card = model_card(run, weights=address, licence=options.license)
    if push is not None and options.output is not None and options.output.exists():
        raise UserError(f"{options.output} exists already: choose another folder with -o")
    weights = generator_weights(run.folder, exact=True)
    if push is not None:
        create_repository(push)  # fails before the release is written
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output or Path(temporary) / "release"
        release_run(folder, run, weights, card, half=options.half)
        print(folder if push is None else upload(folder, push))


def _export_program(options: argparse.Namespace) -> None:
    from deblurlab.checkpoints.load import load_model
    from deblurlab.inference.bundled import weights_folder
    from deblurlab.inference.export import export_onnx, export_program

    generator = load_model(weights_folder(options.run), trust=options.trust)
    write = export_onnx if options.format == "onnx" else export_program
    difference = write(generator, options.output, half=options.half)
    print(f"maximum difference from PyTorch: {difference:.2g}, for images in [0, 1]", file=sys.stderr)
    print(options.output)
