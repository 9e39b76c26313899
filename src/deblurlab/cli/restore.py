"""`deblurlab restore`."""

import argparse
import sys
from functools import partial
from pathlib import Path

from deblurlab.cli.exit_codes import exit_with_message
from deblurlab.cli.precision import add_precision
from deblurlab.cli.trust import add_trust
from deblurlab.errors import UserError

_DESCRIPTION = (
    "Restore blurred images and videos. File names, formats, bit depths and EXIF data are kept. Files that are already "
    "restored are skipped."
)


def restore(arguments: list[str]) -> None:
    """Restore files, or an object store with a Ray cluster; exit with 1 if a file fails."""
    options = make_parser().parse_args(arguments)
    message = "interrupted; all written files are complete; run the same command again to continue"
    with exit_with_message(on_interrupt=message):
        _check_engine_options(options)
        sys.exit(_restore_on_ray(options) if options.engine == "ray" else _restore_files(options))


def _restore_files(options: argparse.Namespace) -> int:
    from deblurlab.runs.folder import parse_shard

    shard, tile, overlap = parse_shard(options.shard), *_parse_tiling(options)  # wrong ones end before torch loads

    from deblurlab.batch.local import restore_files
    from deblurlab.batch.options import Options
    from deblurlab.inference.predictor import Restorer

    files = Options(
        output=Path(options.output),
        shard=shard,
        side_by_side=options.side_by_side,
        overwrite=options.overwrite,
        max_pixels=options.max_pixels,
        fps_report=options.fps_report,
        verbosity=options.verbosity,
    )
    restorer = Restorer.load(
        options.weights,
        device=options.device,
        engine=options.engine,
        tile=tile,
        overlap=overlap,
        strength=options.strength,
        ensemble=options.ensemble,
        precision=options.precision,
        trust=options.trust,
    )
    if restorer.engine.precision.startswith("bf16") and options.verbosity >= 0:
        print(f"precision: {restorer.engine.precision}", file=sys.stderr)
    return restore_files(options.inputs, restorer, files)


def _restore_on_ray(options: argparse.Namespace) -> int:
    tile, overlap = _parse_tiling(options)

    from deblurlab.batch.cluster import ClusterJob, restore
    from deblurlab.inference.predictor import Restorer
    from deblurlab.runs.untrusted import trusted_names

    weights = options.weights
    if weights and Path(weights).exists():
        weights = str(Path(weights).absolute())  # workers run in another directory
    load = partial(
        Restorer.load,
        weights,
        tile=tile,
        overlap=overlap,
        strength=options.strength,
        ensemble=options.ensemble,
        precision=options.precision,
        trust=trusted_names(options.trust),  # workers don't have this process's environment
    )
    job = ClusterJob(
        source=options.input,
        target=options.output,
        overwrite=options.overwrite,
        max_pixels=options.max_pixels,
        device=options.device,
        workers=options.workers,
        address=options.address,
        verbosity=options.verbosity,
    )
    return restore(job, load)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser("deblurlab restore", description=_DESCRIPTION)
    add = parser.add_argument
    add("inputs", nargs="*", metavar="IMAGE|FOLDER|GLOB|VIDEO", help="files to restore")
    add("-o", "--output", default="restored", help="output folder, or output file for one input (default: restored)")
    add("--weights", help="release, hf://owner/name, run, checkpoint, published weights, ONNX file or bundled model")
    add("--tile", default="auto", help="side of tiles in pixels, auto (large images only) or off (default: auto)")
    add("--overlap", default="auto", help="overlap of neighbouring tiles in pixels; auto: exact where affordable")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, ... (default: auto)")
    add("--engine", choices=["torch", "onnxruntime", "ray"], default="torch", help="default: torch")
    add_precision(parser)
    add("--strength", type=float, default=1.0, help="from 0 (blurred image) to 1 (restored image, default)")
    add("--ensemble", action="store_true", help="average over 8 flips and rotations: higher PSNR, 8 times slower")
    add("--side-by-side", action="store_true", help="write the blurred and the restored image next to each other")
    add("--overwrite", action="store_true", help="replace existing files")
    add("--shard", metavar="i/n", help="restore only the i-th of n parts of the inputs")
    add("--max-pixels", type=int, default=1_000_000_000, help="refuse larger images (default: 1000000000)")
    add("--fps-report", action="store_true", help="print the frames per second of each video")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", dest="verbosity", action="store_const", const=-1, help="print failures only")
    volume.add_argument("-v", "--verbose", dest="verbosity", action="store_const", const=1, help="a line per file")
    parser.set_defaults(verbosity=0)
    add_trust(parser)
    ray = parser.add_argument_group("Ray cluster (--engine ray)")
    ray.add_argument("--input", metavar="PLACE", help="s3://bucket/prefix, or a folder that all machines share")
    ray.add_argument("--workers", type=int, help="number of workers (default: one per GPU, or per 2 CPU cores)")
    ray.add_argument("--address", help="address of the cluster (default: RAY_ADDRESS, or a new local cluster)")
    return parser


def _check_engine_options(options: argparse.Namespace) -> None:
    """Raise UserError if options exclude each other, or if there is no input."""
    on_ray = options.engine == "ray"
    excluded = ("inputs", "shard", "side_by_side", "fps_report") if on_ray else ("input", "workers", "address")
    given = [name for name in excluded if getattr(options, name) not in (None, False, [])]
    if given and on_ray:
        option = options.inputs[0] if given[0] == "inputs" else f"--{given[0].replace('_', '-')}"
        raise UserError(
            f"--engine ray doesn't accept {option}: it restores the images at --input, a folder or s3://..."
        )
    if given:
        raise UserError(f"--{given[0]} requires --engine ray: add that or remove --{given[0]}")
    if on_ray and options.input is None:
        raise UserError("--engine ray requires --input: s3://bucket/prefix, or a folder that all machines share")
    if not on_ray and not options.inputs:
        raise UserError("there is nothing to restore: name images, folders or videos")
    if options.max_pixels < 1:
        raise UserError(f"--max-pixels must be at least 1, not {options.max_pixels}")


def _parse_tiling(options: argparse.Namespace) -> tuple[int | None, int | None]:
    """Return the side of a tile and the overlap in pixels; None for auto, 0 for off."""
    return _parse_pixels("tile", options.tile), _parse_pixels("overlap", options.overlap)


def _parse_pixels(name: str, text: str) -> int | None:
    """Return a number of pixels; None for auto, 0 for off."""
    if text == "auto":
        return None
    if text == "off":
        return 0
    if not text.isdecimal():
        choices = "a number of pixels, auto or off" if name == "tile" else "a number of pixels or auto"
        raise UserError(f"--{name} {text} is not valid: use {choices}")
    return int(text)
