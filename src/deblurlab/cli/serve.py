"""`deblurlab serve`."""

import argparse
import sys
from pathlib import Path

from deblurlab.cli.exit_codes import exit_with_message
from deblurlab.cli.precision import add_precision
from deblurlab.cli.trust import add_trust
from deblurlab.errors import UserError
from deblurlab.inference.bundled import DEFAULT, weights_folder

_DESCRIPTION = (
    "Serve a web page for restoring images, and the HTTP API POST /restore. By default only for this machine."
)


def serve(arguments: list[str]) -> None:
    """Serve the web page and the HTTP API until interrupted."""
    options = make_parser().parse_args(arguments)
    with exit_with_message():
        names = [Path(weights or DEFAULT).name for weights in options.weights]
        if len(set(names)) < len(names):
            raise UserError("two of --weights have the same name, which identifies the model: rename one of them")

        paths = [weights_folder(weights) for weights in options.weights]  # before app, which puts the hub offline

        from deblurlab.inference.predictor import Restorer
        from deblurlab.serving import app
        from deblurlab.serving.limits import Limits

        restorers = {
            name: Restorer.load(path, device=options.device, precision=options.precision, trust=options.trust)
            for name, path in zip(names, paths, strict=True)
        }
        for name, restorer in restorers.items():
            if restorer.engine.precision.startswith("bf16"):
                print(f"{name}: precision: {restorer.engine.precision}", file=sys.stderr)
        limits = Limits(
            megabytes=options.max_megabytes,
            megapixels=options.max_megapixels,
            seconds=options.max_seconds,
            transfer=options.transfer_seconds,
            keep=options.keep_seconds,
            queue=options.queue,
        )
        app.serve(restorers, limits, host=options.host, port=options.port)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser("deblurlab serve", description=_DESCRIPTION)
    add = parser.add_argument
    text = (
        "releases, hf://owner/name, run folders, checkpoints, ONNX files or bundled models (default: the bundled model)"
    )
    add("--weights", nargs="+", default=[None], help=text)
    add_trust(parser)
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, ... (default: auto)")
    add_precision(parser)
    add(
        "--host",
        default="127.0.0.1",
        help="0.0.0.0 serves other machines, unauthenticated (default: 127.0.0.1)",
    )
    add("--port", type=int, default=7860, help="0 chooses a free port (default: 7860)")
    for name, default, text in (
        ("--max-megabytes", 100, "maximum size of a file"),
        ("--max-megapixels", 64, "maximum size of an image"),
        ("--max-seconds", 300, "maximum time to restore an image, including the wait in the queue"),
        ("--transfer-seconds", 120, "maximum time to receive a request or to send a response"),
        ("--keep-seconds", 900, "time after which the page's images are deleted"),
    ):
        add(name, type=float, default=default, help=f"{text} (default: {default})")
    add("--queue", type=int, default=16, help="maximum number of waiting images (default: 16)")
    return parser
