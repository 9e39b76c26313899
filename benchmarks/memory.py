"""Peak memory of `deblurlab restore` on the CPU, for a large and a small image.

    python benchmarks/memory.py [png] [tiff] [jpg] [--weights fidelity]

Prints a row per file type. Takes minutes for each.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import argument_parser, parse, peak_memory, print_header, print_row
from deblurlab.inference import bundled
from inference import as_vips, blurred_image

KINDS = "png", "tiff", "jpg"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--weights", default=bundled.DEFAULT, help="model")
    parser.add_argument("--large", type=int, nargs=2, default=[8400, 12000], help="height and width: 100.8 megapixels")
    parser.add_argument("--small", type=int, nargs=2, default=[3000, 4000], help="height and width: 12 megapixels")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"file types: {', '.join(KINDS)}; all by default")
    options = parse(parser, arguments)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    sizes = options.large, options.small
    units = (f"{width}x{height} ({unit})" for height, width in sizes for unit in ("MiB", "s"))
    print_header("type", *units, "peak of the large / small image", "target")
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds or KINDS:
            large, small = (peak(Path(folder), kind, *size, options.weights) for size in sizes)
            values = (f"{value:.0f}" for value in (*large, *small))
            print_row(kind.upper(), *values, f"{large[0] / small[0]:.3f}", "at most 1.2")


def peak(folder: Path, kind: str, height: int, width: int, weights: str) -> tuple[float, float]:
    """Return the peak memory in MiB, and the seconds, of the command for one image."""
    source, target = folder / f"blurred.{kind}", folder / f"restored.{kind}"
    tile = as_vips(blurred_image(700, 1000))
    tile.replicate(-(-width // 1000), -(-height // 700)).crop(0, 0, width, height).write_to_file(str(source))
    command = [sys.executable, "-m", "deblurlab", "restore", source, "-o", target, "--weights", weights]
    return peak_memory([*command, "--device", "cpu", "--overwrite"])


if __name__ == "__main__":
    main()
