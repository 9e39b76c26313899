"""Cost of restoration on the CPU with the bundled models: time of tiles, files and engines, and peak memory.

    python benchmarks/inference.py               # time: minutes
    python benchmarks/inference.py --memory      # peak memory of `deblurlab restore`: many minutes

Prints tables of ratios of medians; the compared calls alternate. On a machine with other load, `--threads 1 --cpu-time`
counts the CPU time of the process.

- Tiles: a 12-megapixel image in tiles with an overlap of 32 pixels / whole. Target: at most 1.15. The number of
  computed pixels per pixel of the image is printed beside it.
- Engines: PyTorch / ONNX Runtime on one 1280x720 image with the same number of threads. Target: at least 1.
- Files: `restore_files` on 8 JPEGs of 2 megapixels / reading, computing and writing sequentially. Target: at most 1.
- Memory: the peak for an image of 100 megapixels / that for one of 12, for each file type. Target: at most 1.2.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import numpy as np
import pyvips
import torch
from torch import Tensor

from deblurlab import Restorer
from deblurlab.batch.local import Options, restore_files
from deblurlab.checkpoints.load import load_model
from deblurlab.inference import bundled
from deblurlab.inference.export import export_onnx
from deblurlab.inference.onnx_engine import OnnxRuntime
from deblurlab.inference.tiling import Tiling
from deblurlab.media.large_images import LargeImageWriter, open_image
from deblurlab.media.pixels import InMemory, Pixels
from deblurlab.synthesis.pairs import Synthesis
from models import processor

Clock = Callable[[], float]
SMALL, LARGE = (4000, 3000), (12000, 8400)
"""Width and height of images of 12 and 100.8 megapixels."""
FILES = 8
PARTS = "tiles", "files", "engines"
KINDS = "png", "tiff", "jpg"
MEASURE_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    """Measure times or peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measurements of time")
    parser.add_argument("--runs", type=int, default=3, help="number of runs, of which the median is taken")
    parser.add_argument("--cpu-time", action="store_true", help="count the CPU time of the process, except for files")
    parser.add_argument("--weights", default=bundled.DEFAULT, help="model for --memory")
    parser.add_argument(
        "--memory", nargs="*", choices=KINDS, help="measure peak memory, for all file types or the given ones"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.memory is not None:
            print_peaks(folder, options.memory or KINDS, options.weights, options.threads)
        else:
            clock = time.process_time if options.cpu_time else time.perf_counter
            print_times(folder, options.only, options.runs, clock)
    print_machine(options.threads)


def print_times(folder: Path, parts: Iterable[str], runs: int, clock: Clock) -> None:
    """Print the ratios of times."""
    print_header("claim", "target", "measured")
    if "tiles" in parts:
        print_tiles(runs, clock)
    if "files" in parts:
        print_files(folder, runs)
    if "engines" in parts:
        print_engines(folder, runs, clock)


def print_tiles(runs: int, clock: Clock) -> None:
    """Print the time of tiled relative to whole restoration."""
    image = np.tile(blurred_image(750, 1000), (4, 4, 1))
    restorers = {
        "whole": Restorer.load(device="cpu", tile=0),
        "overlap 32": Restorer.load(device="cpu", overlap=32),
        "exact": Restorer.load(device="cpu"),
    }
    # Also measures the receptive radius, before the time is taken.
    tilings = {name: restorer.tiling(*image.shape[:2]) for name, restorer in restorers.items()}
    seconds = medians(runs, {name: lambda r=r: restore(r, image) for name, r in restorers.items()}, clock=clock)
    for name, target in (("overlap 32", "at most 1.15"), ("exact", "-")):
        tiling = tilings[name]
        print_row(
            f"12 megapixels in tiles of {tiling.tile}, overlap {tiling.overlap}{' (exact)' * tiling.exact} / whole",
            target,
            f"{seconds[name] / seconds['whole']:.3f} ({computed_pixels(tiling, *image.shape[:2]):.3f} of the pixels)",
        )


def computed_pixels(tiling: Tiling, height: int, width: int) -> float:
    """Return the number of computed pixels per pixel of the image."""
    rows, columns = (sum(span.stop - span.start for span in tiling.spans(size)) for size in (height, width))
    return rows * columns / (height * width)


def restore(restorer: Restorer, image: Pixels) -> list[Pixels]:
    """Return the restored image in blocks of rows."""
    return [restored for _, restored in restorer.rows(InMemory(image))]


def print_engines(folder: Path, runs: int, clock: Clock) -> None:
    """Print the times of PyTorch and ONNX Runtime for each bundled model."""
    seconds = {name: seconds_per_megapixel(name, folder / f"{name}.onnx", runs, clock) for name in bundled.names()}
    eager, onnx = seconds[bundled.DEFAULT]
    print_row("PyTorch / ONNX Runtime, 1280x720", "at least 1", f"{eager / onnx:.3f}")
    print()
    print_header("bundled model", "PyTorch, s / megapixel", "ONNX Runtime, s / megapixel")
    for name, values in seconds.items():
        print_row(f"`{name}`", *(f"{value:.3g}" for value in values))


def seconds_per_megapixel(name: str, path: Path, runs: int, clock: Clock) -> tuple[float, float]:
    """Return seconds per megapixel of a bundled model in PyTorch and in ONNX Runtime."""
    export_onnx(load_model(bundled.weights_folder(name)), path)
    eager, onnx = Restorer.load(name, device="cpu").engine, OnnxRuntime(path)
    image = as_tensor(blurred_image(720, 1280))
    calls = {"eager": lambda: eager(image), "onnx": lambda: onnx(image)}
    seconds = medians(runs + 2, calls, warm_up=True, clock=clock)
    megapixels = 1280 * 720 / 1e6
    return seconds["eager"] / megapixels, seconds["onnx"] / megapixels


def print_files(folder: Path, runs: int) -> None:
    """Print the time of `restore_files` relative to sequential processing."""
    (folder / "in").mkdir()
    for i in range(FILES):
        image = np.tile(blurred_image(612, 816, seed=i), (2, 2, 1))
        as_vips(image).jpegsave(str(folder / "in" / f"{i}.jpg"), Q=95)
    restorer, busy, steps = Restorer.load(device="cpu"), [], []
    seconds = medians(
        runs,
        {
            "concurrent": lambda: busy.append(busy_percentage(folder, restorer)),
            "sequential": lambda: steps.append(sequential_seconds(folder, restorer)),
        },
    )
    print_row(
        f"`restore_files`, {FILES} JPEGs of 2 megapixels / sequential reading, computing and writing",
        "at most 1",
        f"{seconds['concurrent'] / seconds['sequential']:.3f}",
    )
    parts = [statistics.median(values) for values in zip(*steps, strict=True)]
    sequential_busy = 100 * parts[1] / sum(parts)
    percentages = f"{statistics.median(busy):.0f} % ({sequential_busy:.1f} %)"
    print_row("busy time of the network in `restore_files` (sequential)", "-", percentages)
    print_row("sequential reading + computing + writing", "-", " + ".join(f"{value:.2f} s" for value in parts))


def busy_percentage(folder: Path, restorer: Restorer) -> int:
    """Return the percentage of time in which the network of `restore_files` was busy, as it reports."""
    log = StringIO()
    with redirect_stderr(log):
        failed = restore_files([str(folder / "in")], restorer, Options(output=folder / "out", overwrite=True))
    found = re.search(r"busy (\d+) %", log.getvalue())
    if failed or not found:
        sys.exit(log.getvalue())
    return int(found[1])


def sequential_seconds(folder: Path, restorer: Restorer) -> tuple[float, float, float]:
    """Return the seconds of reading, computing and writing the files sequentially."""
    (folder / "sequential").mkdir(exist_ok=True)
    seconds = np.zeros(3)
    for file in sorted((folder / "in").iterdir()):
        marks = [time.perf_counter()]
        image = open_image(file)
        pixels = image.read(image.height)
        marks.append(time.perf_counter())
        restored = restore(restorer, pixels)
        marks.append(time.perf_counter())
        with LargeImageWriter(folder / "sequential" / file.name, image) as writer:
            for rows in restored:
                writer.write(rows)
            writer.finish()
        marks.append(time.perf_counter())
        seconds += np.diff(marks)
    reading, computing, writing = seconds.tolist()
    return reading, computing, writing


def print_peaks(folder: Path, kinds: Iterable[str], weights: str, threads: int) -> None:
    """Print the peak memory for large relative to small images."""
    print_header("claim", "target", "measured", "100 megapixels", "12 megapixels")
    for kind in kinds:
        (small, small_time), (large, large_time) = (
            peak(folder, kind, size, weights, threads) for size in (SMALL, LARGE)
        )
        print_row(
            f"peak of `deblurlab restore`, {kind.upper()}, 100 megapixels / 12",
            "at most 1.2",
            f"{large / small:.3f}",
            f"{large:.0f} MiB, {large_time:.0f} s",
            f"{small:.0f} MiB, {small_time:.0f} s",
        )


def peak(folder: Path, kind: str, size: tuple[int, int], weights: str, threads: int) -> tuple[float, float]:
    """Return the peak memory in MiB, and the seconds, of the command for one image."""
    source, target = folder / f"blurred.{kind}", folder / f"restored.{kind}"
    as_vips(blurred_image(700, 1000)).replicate(12, 12).crop(0, 0, *size).write_to_file(str(source))
    command = [sys.executable, "-m", "deblurlab", "restore", source, "-o", target, "--weights", weights]
    start = time.perf_counter()
    completed = subprocess.run(
        [sys.executable, "-c", MEASURE_PEAK, *command, "--device", "cpu", "--overwrite"],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(completed.stdout) / 2**10, time.perf_counter() - start


def medians(
    runs: int, calls: Mapping[str, Callable[[], object]], *, warm_up: bool = False, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of alternating calls; with `warm_up` each runs once before."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs + warm_up):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
    return {name: statistics.median(values[-runs:]) for name, values in seconds.items()}


def blurred_image(height: int, width: int, *, seed: int = 0) -> Pixels:
    """Return a synthetic blurred image, `(height, width, 3)` uint8."""
    return Synthesis().scene_pair(np.random.default_rng(seed), height, width)[0]


def as_vips(image: Pixels) -> pyvips.Image:
    """Convert an image to libvips."""
    return pyvips.Image.new_from_memory(image.tobytes(), *image.shape[1::-1], 3, "uchar").copy(interpretation="srgb")


def as_tensor(image: Pixels) -> Tensor:
    """Convert an image to a tensor, `(1, 3, H, W)` in [0, 1]."""
    return torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()


def print_header(*cells: str) -> None:
    """Print the header of a Markdown table."""
    print_row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def print_row(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def print_machine(threads: int) -> None:
    """Print the processor, the number of threads and the version of PyTorch."""
    print(f"\n{processor()}, {threads} threads, torch {torch.__version__.split('+')[0]}.")


if __name__ == "__main__":
    main()
