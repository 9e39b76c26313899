"""What restoring costs, on the processor, with the model that comes with deblurlab.

python benchmarks/inference.py               # tiles, reading and writing beside computing, engines: minutes
python benchmarks/inference.py --memory      # peaks of `deblurlab restore`, 100 against 12 megapixels: many minutes
python benchmarks/inference.py --models      # what tiles do to every model of conf/model: minutes

Each prints a table: ratios are of medians of runs that take turns. On a machine that has other work, `--threads 1
--busy` counts the process's own seconds.

- An image of 12 megapixels in tiles / whole, the same pixels; target at most 1.15 with an overlap of 32 pixels. Beside
  it, what share of it the windows are, which is what the ratio would be if nothing but the network took time.
- PyTorch / ONNX Runtime, one image of 1280x720, as many threads; target at least 1.
- `restore_files` on 8 JPEGs of 2 megapixels / reading, computing and writing one after the other; target at most 1.
- The peak of a picture of 100 megapixels / that of one of 12, for each kind of file; target at most 1.2.

The models are as large as by default, with random weights; whatever begins at zero is drawn from a normal
distribution wide enough to change the image, and what they restore is moved to its brightness, lest all be black. A
model is local if it sees less far than a limit, so that tiles can be exact. The differences are levels of 255 between
tiles of 256 pixels, blended over 64 to each side, and the whole image, 512x384; a model that sees no farther than the
overlap has none.
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

from deblurlab import Restorer, config
from deblurlab.batch.local import Options, restore_files
from deblurlab.checkpoints.load import load_model
from deblurlab.inference import bundled
from deblurlab.inference.engines import MAX_RADIUS, Torch
from deblurlab.inference.export import export_onnx
from deblurlab.inference.onnx_engine import OnnxRuntime
from deblurlab.inference.tiling import Tiling, choose_tiling, restore_rows
from deblurlab.media.large_images import LargeImageWriter, open_image
from deblurlab.media.pixels import InMemory, Pixels
from deblurlab.models import Model
from deblurlab.synthesis.pairs import Synthesis
from models import build, processor

Clock = Callable[[], float]
CPU = torch.device("cpu")
SMALL, LARGE = (4000, 3000), (12000, 8400)
"""Width and height: 12 and 100.8 megapixels."""
FILES = 8
LEAST = 4
"""Levels of 255 that what a network adds to the image must spread over."""
PARTS = "tiles", "files", "engines"
KINDS = "png", "tiff", "jpg"
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="of what is timed")
    parser.add_argument("--runs", type=int, default=3, help="whose median is taken")
    parser.add_argument("--busy", action="store_true", help="count this process's seconds alone, but for files")
    parser.add_argument("--weights", default=bundled.DEFAULT, help="for --memory: a smaller model's ratio is larger")
    parser.add_argument("--memory", nargs="*", choices=KINDS, help="peaks, of all kinds of files or these")
    parser.add_argument("--models", nargs="*", metavar="NAME", help="tiles, by all models or these")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.memory is not None:
            memory(folder, options.memory or KINDS, options.weights, options.threads)
        elif options.models is not None:
            models(options.models or config.options("model"))
        else:
            speed(folder, options.only, options.runs, time.process_time if options.busy else time.perf_counter)
    print(f"\n{processor()}, {options.threads} threads, torch {torch.__version__.split('+')[0]}.")


def speed(folder: Path, parts: Iterable[str], runs: int, clock: Clock) -> None:
    head("claim", "target", "measured")
    if "tiles" in parts:
        tiles(runs, clock)
    if "files" in parts:
        files(folder, runs)
    if "engines" in parts:
        engines(folder, runs, clock)


def tiles(runs: int, clock: Clock) -> None:
    image = np.tile(scene(750, 1000), (4, 4, 1))
    networks = {
        "whole": Restorer.load(device="cpu", tile=0),
        "overlap 32": Restorer.load(device="cpu", overlap=32),
        "exact": Restorer.load(device="cpu"),
    }
    cuts = {name: network.tiling(*image.shape[:2]) for name, network in networks.items()}  # looks for the reach, too
    spent = medians(runs, {name: lambda n=n: restore(n, image) for name, n in networks.items()}, clock=clock)
    for name, target in (("overlap 32", "at most 1.15"), ("exact", "-")):
        cut = cuts[name]
        row(
            f"12 megapixels in tiles of {cut.tile}, overlap {cut.overlap}{' (exact)' * cut.exact} / whole",
            target,
            f"{spent[name] / spent['whole']:.3f} ({computed(cut, *image.shape[:2]):.3f} of the pixels)",
        )


def computed(cut: Tiling, height: int, width: int) -> float:
    """How many pixels the windows have, per pixel of the image."""
    rows, columns = (sum(span.stop - span.start for span in cut.spans(size)) for size in (height, width))
    return rows * columns / (height * width)


def restore(network: Restorer, image: Pixels) -> list[Pixels]:
    return [restored for _, restored in network.rows(InMemory(image))]


def engines(folder: Path, runs: int, clock: Clock) -> None:
    spent = {name: seconds_per_megapixel(name, folder / f"{name}.onnx", runs, clock) for name in bundled.names()}
    eager, other = spent[bundled.DEFAULT]
    row("PyTorch / ONNX Runtime, 1280x720", "at least 1", f"{eager / other:.3f}")
    print()
    head("bundled model", "PyTorch, s / megapixel", "ONNX Runtime, s / megapixel")
    for name, seconds in spent.items():
        row(f"`{name}`", *(f"{each:.3g}" for each in seconds))


def seconds_per_megapixel(name: str, path: Path, runs: int, clock: Clock) -> tuple[float, float]:
    """Of a bundled model, in PyTorch and in ONNX Runtime."""
    export_onnx(load_model(bundled.weights_folder(name)), path)
    eager, other = Restorer.load(name, device="cpu").engine, OnnxRuntime(path)
    image = as_tensor(scene(720, 1280))
    spent = medians(runs + 2, {"eager": lambda: eager(image), "other": lambda: other(image)}, warm=True, clock=clock)
    return spent["eager"] / 0.9216, spent["other"] / 0.9216


def files(folder: Path, runs: int) -> None:
    (folder / "in").mkdir()
    for i in range(FILES):
        picture = np.tile(scene(612, 816, seed=i), (2, 2, 1))
        vips(picture).jpegsave(str(folder / "in" / f"{i}.jpg"), Q=95)
    network, shares, steps = Restorer.load(device="cpu"), [], []
    walls = medians(
        runs,
        {
            "together": lambda: shares.append(together(folder, network)),
            "apart": lambda: steps.append(one_after_another(folder, network)),
        },
    )
    row(
        f"`restore_files`, {FILES} JPEGs of 2 megapixels / reading, computing, writing one after the other",
        "at most 1",
        f"{walls['together'] / walls['apart']:.3f}",
    )
    alone = [statistics.median(each) for each in zip(*steps, strict=True)]
    before = 100 * alone[1] / sum(alone)
    row("its network's busy share (one after the other)", "-", f"{statistics.median(shares):.0f} % ({before:.1f} %)")
    row("one after the other: reading, computing, writing", "-", " + ".join(f"{each:.2f} s" for each in alone))


def together(folder: Path, network: Restorer) -> int:
    """What `restore_files` says that its network was busy, in percent."""
    said = StringIO()
    with redirect_stderr(said):
        failed = restore_files([str(folder / "in")], network, Options(output=folder / "out", overwrite=True))
    found = re.search(r"busy (\d+) %", said.getvalue())
    if failed or not found:
        sys.exit(said.getvalue())
    return int(found[1])


def one_after_another(folder: Path, network: Restorer) -> tuple[float, float, float]:
    """Seconds of reading, computing and writing."""
    (folder / "apart").mkdir(exist_ok=True)
    spent = np.zeros(3)
    for file in sorted((folder / "in").iterdir()):
        marks = [time.perf_counter()]
        picture = open_image(file)
        pixels = picture.read(picture.height)
        marks.append(time.perf_counter())
        restored = restore(network, pixels)
        marks.append(time.perf_counter())
        with LargeImageWriter(folder / "apart" / file.name, picture) as writer:
            for rows in restored:
                writer.write(rows)
            writer.finish()
        marks.append(time.perf_counter())
        spent += np.diff(marks)
    reading, computing, writing = spent.tolist()
    return reading, computing, writing


def memory(folder: Path, kinds: Iterable[str], weights: str, threads: int) -> None:
    head("claim", "target", "measured", "100 megapixels", "12 megapixels")
    for kind in kinds:
        (small, soon), (large, late) = (peak(folder, kind, size, weights, threads) for size in (SMALL, LARGE))
        row(
            f"peak of `deblurlab restore`, {kind.upper()}, 100 megapixels / 12",
            "at most 1.2",
            f"{large / small:.3f}",
            f"{large:.0f} MiB, {late:.0f} s",
            f"{small:.0f} MiB, {soon:.0f} s",
        )


def peak(folder: Path, kind: str, size: tuple[int, int], weights: str, threads: int) -> tuple[float, float]:
    """MiB of memory, and seconds, that the command takes for a picture."""
    source, target = folder / f"picture.{kind}", folder / f"restored.{kind}"
    vips(scene(700, 1000)).replicate(12, 12).crop(0, 0, *size).write_to_file(str(source))
    command = [sys.executable, "-m", "deblurlab", "restore", source, "-o", target, "--weights", weights]
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *command, "--device", "cpu", "--overwrite"],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout) / 2**10, time.perf_counter() - began


def models(names: Iterable[str]) -> None:
    image = as_tensor(scene(384, 512))
    torch.manual_seed(0)
    head("model", f"receptive radius (up to {MAX_RADIUS})", "mean difference", "largest", "changes the image by", "s, all of it")
    for name in names:
        began = time.perf_counter()
        engine = Centred(lively(build(name), image[..., :128, :128]), CPU)
        engine.shift = image.mean((2, 3), keepdim=True) - engine(image).mean((2, 3), keepdim=True)
        cut = choose_tiling(engine, *image.shape[-2:], tile=256, overlap=64)
        pixels = image[0].permute(1, 2, 0).contiguous().numpy()
        whole, tiled = (
            np.concatenate([restored for _, restored in restore_rows(engine, InMemory(pixels), tiling)])
            for tiling in (Tiling(0, 0, True), cut)
        )
        apart, change = 255 * np.abs(tiled - whole), 255 * np.abs(whole - pixels).mean()
        reach = "not local" if engine.receptive_radius is None else f"{engine.receptive_radius}{', exact' * cut.exact}"
        spent = time.perf_counter() - began
        row(f"`{name}`", reach, f"{apart.mean():.2g}", f"{apart.max():.2g}", f"{change:.2g}", f"{spent:.0f}")


class Centred(Torch):
    """A network whose images are brighter by `shift`, or darker."""

    shift: Tensor | float = 0.0

    def __call__(self, blurred: Tensor) -> Tensor:
        return super().__call__(blurred) + self.shift


def lively(network: Model, image: Tensor) -> Model:
    """One whose parts do something from the beginning, and which changes the image visibly."""
    generator = torch.Generator().manual_seed(0)
    zeros = [weight for weight in network.parameters() if weight.ndim > 1 and not weight.any()]
    with torch.no_grad():
        for weight in zeros:
            weight.normal_(0, 0.1, generator=generator)
        while zeros and (network(image) - image).std((2, 3)).mean() < LEAST / 255:
            torch._foreach_mul_(zeros, 2)
    return network


def medians(
    runs: int, calls: Mapping[str, Callable[[], object]], *, warm: bool = False, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Seconds of each of the calls, which take turns; `warm` ones are run once before."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs + warm):
        for name, call in calls.items():
            began = clock()
            call()
            spent[name].append(clock() - began)
    return {name: statistics.median(seconds[-runs:]) for name, seconds in spent.items()}


def scene(height: int, width: int, *, seed: int = 0) -> Pixels:
    """A blurred picture."""
    return Synthesis().scene_pair(np.random.default_rng(seed), height, width)[0]


def vips(picture: Pixels) -> pyvips.Image:
    return pyvips.Image.new_from_memory(picture.tobytes(), *picture.shape[1::-1], 3, "uchar").copy(
        interpretation="srgb"
    )


def as_tensor(picture: Pixels) -> Tensor:
    return torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None].contiguous()


def head(*cells: str) -> None:
    row(*cells)
    print("|" + "---|" * len(cells), flush=True)


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
