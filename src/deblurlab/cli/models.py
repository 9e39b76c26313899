"""The commands that do something with trained networks. Heavy imports wait until there is work to do."""

import argparse
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hydra.errors import InstantiationException

from deblurlab.errors import UserError, user_cause


def restore(arguments: list[str]) -> None:
    """Restore blurred pictures and videos. Names, formats, bit depths and EXIF stay; what is done is skipped."""
    options = _restore_options().parse_args(arguments)
    signal.signal(signal.SIGTERM, _ended)
    try:
        from deblurlab.batch.local import Options, restore_files
        from deblurlab.inference.predictor import Restorer
        from deblurlab.runs.folder import parse_shard

        on_ray = _on_ray(options)
        weights = options.weights
        load = partial(
            Restorer.load,
            str(Path(weights).absolute()) if weights and Path(weights).exists() else weights,
            engine="torch" if on_ray else options.engine,
            tile=_pixels("tile", options.tile),
            overlap=_pixels("overlap", options.overlap),
            strength=options.strength,
            ensemble=options.ensemble,
            trust=options.trust,
        )
        if on_ray:
            from deblurlab.batch import cluster

            job = cluster.Job(
                source=options.input,
                target=options.output,
                overwrite=options.overwrite,
                max_pixels=options.max_pixels,
                device=options.device,
                workers=options.workers,
                address=options.address,
            )
            sys.exit(cluster.restore(job, load))
        restorer = load(device=options.device)
        files = Options(
            output=Path(options.output),
            shard=parse_shard(options.shard),
            side_by_side=options.side_by_side,
            overwrite=options.overwrite,
            max_pixels=options.max_pixels,
            fps_report=options.fps_report,
        )
        code = restore_files(options.inputs, restorer, files)
    except KeyboardInterrupt:
        print("deblurlab: interrupted: what is written is whole, the same command goes on", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (UserError, OSError) as error:
        sys.exit(f"deblurlab: {user_cause(error)}")
    sys.exit(code)


def serve(arguments: list[str]) -> None:
    """A page to restore photographs on, and POST /restore for programs, on this machine alone."""
    parser = argparse.ArgumentParser("deblurlab serve", description=serve.__doc__)
    parser.add_argument("--weights", nargs="+", default=[None], help="one or several to choose from, as of restore")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, ...")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets others in, whom nothing here keeps out")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--max-megabytes", type=float, default=100, help="of a file")
    parser.add_argument("--max-megapixels", type=float, default=64, help="of a picture")
    parser.add_argument("--max-seconds", type=float, default=300, help="for a picture, waiting included")
    parser.add_argument("--transfer-seconds", type=float, default=120, help="for a picture to come, and to be taken")
    parser.add_argument("--keep-seconds", type=float, default=900, help="before the page's pictures are deleted")
    parser.add_argument("--queue", type=int, default=16, help="pictures that may wait")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _ended)  # so that visitors' files are deleted
    try:
        from deblurlab.inference.bundled import DEFAULT
        from deblurlab.inference.predictor import Restorer
        from deblurlab.serving import app as serving
        from deblurlab.serving.limits import Limits

        if len({Path(n or DEFAULT).name for n in options.weights}) < len(options.weights):
            raise UserError("two of --weights have the same name, by which visitors would choose")
        restorers = {Path(n or DEFAULT).name: Restorer.load(n, device=options.device) for n in options.weights}
        limits = Limits(
            megabytes=options.max_megabytes,
            megapixels=options.max_megapixels,
            seconds=options.max_seconds,
            transfer=options.transfer_seconds,
            keep=options.keep_seconds,
            queue=options.queue,
        )
        serving.serve(restorers, limits, host=options.host, port=options.port)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except (UserError, OSError) as error:
        sys.exit(f"deblurlab: {user_cause(error)}")


def export(arguments: list[str]) -> None:
    """Turn a trained generator into files that others can use."""
    parser = argparse.ArgumentParser("deblurlab export", description=export.__doc__)
    parser.add_argument("run", type=Path, help="a run's folder; but for a release also a release or a checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, help="where to")
    parser.add_argument(
        "--format",
        choices=["release", "onnx", "torch_export"],
        default="release",
        help="safetensors and JSON; or a file for ONNX Runtime or torch.export.load, for images of any size",
    )
    parser.add_argument("--half", action="store_true", help="16 bits for each weight")
    parser.add_argument("--trust", action="append", default=[], metavar="CLASS", help="that the run may name")
    options = parser.parse_args(arguments)

    def work() -> None:
        from deblurlab.checkpoints.load import generator_weights, load_model
        from deblurlab.checkpoints.release import release_run
        from deblurlab.runs.folder import Run

        if options.format == "release":
            release_run(options.output, Run(options.run), generator_weights(options.run, exact=True), half=options.half)
            return
        from deblurlab.inference.bundled import weights_folder
        from deblurlab.inference.export import export_onnx, export_program
        from deblurlab.models import Model

        generator = load_model(weights_folder(options.run), trust=options.trust)
        if not isinstance(generator, Model):
            raise UserError(
                f"{type(generator).__name__} isn't a deblurlab.models.Model, which brings its padding along"
            )
        write = export_onnx if options.format == "onnx" else export_program
        apart = write(generator, options.output, half=options.half)
        print(f"differs from PyTorch by {apart:.2g} at most, of images in [0, 1]", file=sys.stderr)

    _write(options.output, work)


def weights(arguments: list[str]) -> None:
    """Weights that other projects have published."""
    parser = argparse.ArgumentParser("deblurlab weights", description=weights.__doc__)
    commands = parser.add_subparsers(required=True)
    converting = commands.add_parser("convert", help="turn a downloaded checkpoint into a release")
    converting.add_argument("file", type=Path, help="the checkpoint, as downloaded")
    converting.add_argument("--model", required=True, help="what it belongs to: an option of the group model")
    converting.add_argument("-o", "--output", type=Path, help="the release's folder; by default the file's name")
    options = parser.parse_args(arguments)
    output = options.output or Path(options.file.stem)
    from deblurlab.checkpoints.convert import convert

    _write(output, lambda: convert(options.file, options.model, output))


def _restore_options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("deblurlab restore", description=restore.__doc__)
    parser.add_argument("inputs", nargs="*", metavar="IMAGE|FOLDER|GLOB|VIDEO", help="what to restore")
    parser.add_argument("-o", "--output", default="restored", help="a folder, or a file's name for one file")
    parser.add_argument(
        "--weights", help="a release, a run's folder, a checkpoint, an ONNX file or a bundled model's name"
    )
    parser.add_argument("--tile", default="auto", help="side of tiles in pixels, auto (large images only) or off")
    parser.add_argument(
        "--overlap", default="auto", help="of neighbouring tiles in pixels; auto: exact where affordable"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, ...")
    parser.add_argument("--engine", choices=["torch", "onnxruntime", "ray"], default="torch")
    parser.add_argument("--input", metavar="PLACE", help="of --engine ray: s3://bucket/prefix, or a shared folder")
    parser.add_argument("--workers", type=int, help="of --engine ray; by default one per GPU, or per 2 processors")
    parser.add_argument(
        "--address", help="of --engine ray: that of a cluster; by default RAY_ADDRESS, or a new one here"
    )
    parser.add_argument("--shard", metavar="i/n", help="do the i-th of n shares, on several machines")
    parser.add_argument("--strength", type=float, default=1.0, help="0 (blurred) to 1 (restored)")
    parser.add_argument(
        "--ensemble", action="store_true", help="the mean over 8 flips and turns: better, 8 times slower"
    )
    parser.add_argument("--side-by-side", action="store_true", help="blurred and restored in one picture")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument("--max-pixels", type=int, default=1_000_000_000, help="larger ones are refused by their header")
    parser.add_argument("--fps-report", action="store_true", help="frames per second of each video")
    parser.add_argument("--trust", action="append", default=[], metavar="CLASS", help="that the weights may name")
    return parser


def _on_ray(options: argparse.Namespace) -> bool:
    """Whether a cluster is to restore.

    Raises:
        UserError: Options are given that don't go together, or nothing to restore.
    """
    on_ray: bool = options.engine == "ray"
    others = ("inputs", "shard", "side_by_side", "fps_report") if on_ray else ("input", "workers", "address")
    given = [name for name in others if getattr(options, name) not in (None, False, [])]
    if given and on_ray:
        what = options.inputs[0] if given[0] == "inputs" else f"--{given[0].replace('_', '-')}"
        raise UserError(f"--engine ray doesn't take {what}: it restores the pictures at --input, a folder or s3://...")
    if given:
        raise UserError(f"--{given[0]} is for --engine ray: add that, or leave it out")
    if on_ray and options.input is None:
        raise UserError("--engine ray needs --input, s3://bucket/prefix or a folder that all machines see")
    if not on_ray and not options.inputs:
        raise UserError("there is nothing to restore: name images, folders or videos")
    return on_ray


def _pixels(name: str, text: str) -> int | None:
    """A number of pixels; None is auto, 0 is off."""
    if text == "auto":
        return None
    if text == "off":
        return 0
    if not text.isdecimal():
        raise UserError(
            f"--{name} {text} is neither a number of pixels nor auto" + (" nor off" if name == "tile" else "")
        )
    return int(text)


def _ended(number: int, frame: object) -> None:
    """A signal ends the program in order."""
    sys.exit(128 + number)


def _write(output: Path, work: Callable[[], None]) -> None:
    """Do some work and name what it has written; what the user can mend is one line."""
    try:
        work()
    except (UserError, InstantiationException, OSError) as error:
        sys.exit(f"deblurlab: {user_cause(error)}")
    print(output)
