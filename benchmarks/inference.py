"""Time of restoration on the CPU with the bundled models: tiles, files and engines.

    python benchmarks/inference.py [--only tiles files engines] [--threads N]

Prints medians of ratios; the compared calls alternate. On a machine with other load, `--threads 1 --cpu-time` counts
the CPU time of the process.

- Tiles: an image in tiles / whole, with the number of computed pixels per pixel of the image.
- Files: `restore_files` on JPEGs / reading, computing and writing them sequentially.
- Engines: seconds per megapixel of each bundled model in PyTorch (float32 and bfloat16) and ONNX Runtime, and of
  NAFNet-16 in PyTorch, all with the same number of threads; PyTorch uses channels_last. bfloat16 is slower than float32
  on processors without instructions for it.
"""

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import numpy as np
import pyvips
import torch
from torch import Tensor

from common import Clock, alternate, argument_parser, median_ratio, parse, print_header, print_row
from deblurlab import Restorer
from deblurlab.batch.local import restore_files
from deblurlab.batch.options import Options
from deblurlab.checkpoints.load import load_model
from deblurlab.inference import bundled
from deblurlab.inference.engines import Engine, Torch
from deblurlab.inference.export import export_onnx
from deblurlab.inference.onnx_engine import OnnxRuntime
from deblurlab.inference.tiling import Tiling
from deblurlab.media.large_image_writer import LargeImageWriter
from deblurlab.media.large_images import open_image
from deblurlab.media.pixels import InMemory, Pixels
from deblurlab.synthesis.pairs import Synthesis
from models import build

PARTS = "tiles", "files", "engines"
NAFNET = "nafnet_16"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argument_parser(__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measurements")
    parser.add_argument("--models", nargs="+", default=bundled.names(), help="bundled models of the engines")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median is taken; two more for engines")
    parser.add_argument("--tiled", type=int, nargs=2, default=[3000, 4000], help="height and width of the tiled image")
    parser.add_argument("--tile", type=int, help="side of the tiles; default: as `Restorer` chooses it")
    parser.add_argument("--size", type=int, nargs=2, default=[720, 1280], help="height and width of other images")
    parser.add_argument("--files", type=int, default=8, help="number of files")
    parser.add_argument("--cpu-time", action="store_true", help="count the CPU time of the process, except for files")
    options = parse(parser, arguments)
    clock = time.process_time if options.cpu_time else time.perf_counter
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "tiles" in options.only:
            height, width = options.tiled
            print_tiles(height, width, options.tile, options.runs, clock)
        height, width = options.size
        if "files" in options.only:
            print_files(folder, options.files, height, width, options.runs)
        if "engines" in options.only:
            print_engines(folder, options.models, height, width, options.runs + 2, clock)


def print_tiles(height: int, width: int, tile: int | None, runs: int, clock: Clock) -> None:
    """Print the time of tiled relative to whole restoration."""
    image = np.tile(blurred_image(height // 4, width // 4), (4, 4, 1))
    restorers = {
        "whole": Restorer.load(device="cpu", precision="fp32", tile=0),
        "overlap 32": Restorer.load(device="cpu", precision="fp32", tile=tile, overlap=32),
        "exact": Restorer.load(device="cpu", precision="fp32", tile=tile),
    }
    # Also measures the receptive radius, before the time is taken.
    tilings = {name: restorer.tiling(*image.shape[:2]) for name, restorer in restorers.items()}
    seconds = alternate({name: lambda r=r: restore(r, image) for name, r in restorers.items()}, runs, clock=clock)
    print_header("tiles", "computed pixels / pixels", "tiled / whole", "target")
    for name, target in (("overlap 32", "at most 1.15"), ("exact", "-")):
        tiling = tilings[name]
        print_row(
            f"{image.shape[1]}x{image.shape[0]} in tiles of {tiling.tile}, overlap {tiling.overlap}"
            + " (exact)" * tiling.exact,
            f"{computed_pixels(tiling, *image.shape[:2]):.3f}",
            f"{median_ratio(seconds[name], seconds['whole']):.3f}",
            target,
        )
    print()


def computed_pixels(tiling: Tiling, height: int, width: int) -> float:
    """Return the number of computed pixels per pixel of the image."""
    rows, columns = (sum(span.stop - span.start for span in tiling.spans(size)) for size in (height, width))
    return rows * columns / (height * width)


def restore(restorer: Restorer, image: Pixels) -> list[Pixels]:
    """Return the restored image in blocks of rows."""
    return [restored for _, restored in restorer.rows(InMemory(image))]


def print_files(folder: Path, count: int, height: int, width: int, runs: int) -> None:
    """Print the time of `restore_files` relative to sequential processing."""
    (folder / "in").mkdir()
    for i in range(count):
        as_vips(blurred_image(height, width, seed=i)).jpegsave(str(folder / "in" / f"{i}.jpg"), Q=95)
    restorer, busy = Restorer.load(device="cpu", precision="fp32"), []
    calls = {
        "concurrent": lambda: busy.append(busy_percentage(folder, restorer)),
        "sequential": lambda: restore_sequentially(folder, restorer),
    }
    seconds = alternate(calls, runs)
    print_header("files", "busy time of the network (%)", "`restore_files` / sequential", "target")
    ratio = median_ratio(seconds["concurrent"], seconds["sequential"])
    print_row(f"{count} JPEGs of {width}x{height}", f"{statistics.median(busy):.0f}", f"{ratio:.3f}", "at most 1")
    print()


def busy_percentage(folder: Path, restorer: Restorer) -> int:
    """Return the percentage of time in which the network of `restore_files` was busy, as it reports."""
    log = StringIO()
    with redirect_stderr(log):
        failed = restore_files([str(folder / "in")], restorer, Options(output=folder / "out", overwrite=True))
    found = re.search(r"busy (\d+) %", log.getvalue())
    if failed or not found:
        sys.exit(log.getvalue())
    return int(found[1])


def restore_sequentially(folder: Path, restorer: Restorer) -> None:
    """Read, compute and write the files sequentially."""
    (folder / "sequential").mkdir(exist_ok=True)
    for file in sorted((folder / "in").iterdir()):
        image = open_image(file)
        restored = restore(restorer, image.read(image.height))
        with LargeImageWriter(folder / "sequential" / file.name, image) as writer:
            for rows in restored:
                writer.write(rows)
            writer.finish()


def print_engines(folder: Path, models: Sequence[str], height: int, width: int, runs: int, clock: Clock) -> None:
    """Print seconds per megapixel of bundled models and NAFNet-16, and ratios of the first bundled model."""
    image = as_tensor(blurred_image(height, width))
    engines: dict[str, Engine] = {f"{NAFNET}, PyTorch": Torch(build(NAFNET), torch.device("cpu"))}
    for name in models:
        export_onnx(load_model(bundled.weights_folder(name)), folder / f"{name}.onnx")
        engines[f"{name}, PyTorch"] = Restorer.load(name, device="cpu", precision="fp32").engine
        engines[f"{name}, PyTorch bf16"] = Restorer.load(name, device="cpu", precision="bf16").engine
        engines[f"{name}, ONNX Runtime"] = OnnxRuntime(folder / f"{name}.onnx")
    calls = {name: lambda e=engine: e(image) for name, engine in engines.items()}
    seconds = alternate(calls, runs, warm_up=1, clock=clock)
    print_header(f"network, engine, {width}x{height}", "s / megapixel")
    for name, values in seconds.items():
        print_row(name, f"{statistics.median(values) / (height * width / 1e6):.3g}")
    print()
    print_header("ratio", "measured", "target")
    eager = f"{models[0]}, PyTorch"
    for name, target in (
        (f"{models[0]}, ONNX Runtime", "at least 1"),
        (f"{models[0]}, PyTorch bf16", "-"),
        (f"{NAFNET}, PyTorch", "at most 0.5"),
    ):
        print_row(f"{eager} / {name}", f"{median_ratio(seconds[eager], seconds[name]):.3f}", target)


def blurred_image(height: int, width: int, *, seed: int = 0) -> Pixels:
    """Return a synthetic blurred image, `(height, width, 3)` uint8."""
    return Synthesis().scene_pair(np.random.default_rng(seed), height, width)[0]


def as_vips(image: Pixels) -> pyvips.Image:
    """Convert an image to libvips."""
    return pyvips.Image.new_from_memory(image.tobytes(), *image.shape[1::-1], 3, "uchar").copy(interpretation="srgb")


def as_tensor(image: Pixels) -> Tensor:
    """Convert an image to a tensor, `(1, 3, H, W)` in [0, 1]."""
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()


if __name__ == "__main__":
    main()
