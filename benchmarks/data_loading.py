"""Cost of data loading: time per crop, waiting time of a step, memory of a worker, rate of synthesis.

    python benchmarks/data_loading.py [--samples 100000] [Hydra overrides, e.g. data=gopro data.root=...]

Without overrides a small data set of 1280x720 pairs in GoPro's layout is generated first. Prints, with one thread:

- the median time to read and augment a random 256x256 crop from the frame store and from image files, alternating in
  this process
- private and shared memory of a loader's worker over an epoch
- the share of a training step that waits for the loader
- the rate at which synthetic pairs are generated
"""

import itertools
import re
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

from common import alternate, argument_parser, median_ratio, parse, print_header, print_row
from deblurlab import config
from deblurlab.config import instantiate
from deblurlab.dataloading import KeyedBatchSampler, Stage
from deblurlab.datasets import PairDataset, SceneDataset
from deblurlab.datasets.frame_store import FrameStore, Reader
from deblurlab.datasets.frame_store_writer import write_frame_store
from deblurlab.datasets.listing import Pair
from deblurlab.media.images import read_image, write_png
from deblurlab.synthesis import Synthesis
from deblurlab.synthesis.scenes import dead_leaves

CROP = 256
READS = 20
"""Crops from the frame store for each crop from files: they take much less time."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all measurements."""
    parser = argument_parser(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument("--runs", type=int, default=40, help="crops from files, of which the median is taken")
    parser.add_argument("--samples", type=int, default=20000, help="length of the epoch whose memory is measured")
    parser.add_argument("--steps", type=int, default=12, help="training steps")
    parser.add_argument("--pairs", type=int, default=60, help="generated pairs")
    parser.add_argument("--size", type=int, nargs=2, default=[720, 1280], help="height and width of the generated set")
    parser.add_argument("overrides", nargs="*", help="config overrides")
    options = parse(parser, arguments)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        overrides = options.overrides or ["data=gopro", f"data.root={write_data_set(Path(folder), *options.size)}"]
        data = instantiate(config.compose(*overrides).data)
        data.prepare()
        pairs = data.items("train")
        files = sorted({path for pair in pairs for path in (pair.blurred, pair.sharp)})
        for _ in write_frame_store(data.root, files):
            pass
        readers = {"frame store": FrameStore(data.root), "files": read_image}
        print_header("256x256 crops", "frame store (ms)", "files (ms)", "files / frame store", "target")
        for augment, target in (("none", "at least 100"), ("flip_rot", "-")):
            print_times(augment, target, pairs, readers, options.runs)
        print()
        print_memory(pairs, readers["frame store"], options.samples)
        print()
        print_header("measurement", "measured")
        for name, reader in readers.items():
            share = waiting_share(pairs, reader, options.steps)
            print_row(f"share of a training step that waits for one worker, {name} (%)", f"{100 * share:.1f}")
    scenes: Synthesis = instantiate(config.compose("data=synthetic").data.scenes)
    pair = "256x256 per second"
    print_row(f"synthetic pairs of {pair} and core, written to disk", f"{pairs_per_second(scenes, options.pairs):.1f}")
    rendered, blurred, device = endless_per_second(scenes, options.pairs)
    print_row(f"endless scenes of {pair} and core, rendered", f"{rendered:.1f}")
    print_row(f"endless pairs of {pair}, blurred on {device}", f"{blurred:.1f}")


def write_data_set(root: Path, height: int, width: int) -> Path:
    """Write 3 training sequences of 8 pairs and one test pair in GoPro's layout; return the folder."""
    synthesis = Synthesis()
    for sequence, count in (("train/a", 8), ("train/b", 8), ("train/c", 8), ("test/d", 1)):
        for kind in ("blur", "sharp"):
            (root / sequence / kind).mkdir(parents=True)
        for i in range(count):
            blurred, sharp, _ = synthesis.scene_pair(np.random.default_rng(i), height, width)
            write_png(root / sequence / "blur" / f"{i:06d}.png", blurred)
            write_png(root / sequence / "sharp" / f"{i:06d}.png", sharp)
    return root


def print_times(augment: str, target: str, pairs: list[Pair], readers: dict[str, Reader], runs: int) -> None:
    """Print the median times per crop from the frame store and from image files."""
    datasets = {name: _dataset(augment, pairs, reader) for name, reader in readers.items()}
    for i in range(len(pairs)):  # the first read of a frame verifies its checksum
        datasets["frame store"][0, i, CROP]
    numbers = {name: itertools.count() for name in datasets}

    def read(name: str, count: int) -> None:
        for number in itertools.islice(numbers[name], count):
            datasets[name][number, 7 * number % len(pairs), CROP]

    counts = {"frame store": READS, "files": 1}
    seconds = alternate({name: lambda n=name: read(n, counts[n]) for name in datasets}, runs)
    store, files = (statistics.median(seconds[name]) / counts[name] * 1e3 for name in datasets)
    ratio = READS * median_ratio(seconds["files"], seconds["frame store"])
    print_row(f"augment={augment}", f"{store:.2f}", f"{files:.1f}", f"{ratio:.0f}", target)


def print_memory(pairs: list[Pair], store: FrameStore, samples: int) -> None:
    """Print the memory of a worker during an epoch, and its rate."""
    dataset = _dataset("none", pairs * -(-samples // len(pairs)), store)
    batches = KeyedBatchSampler([len(dataset)], stages=[Stage(0, CROP, 16)])
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=1, persistent_workers=True)
    marks = np.linspace(0, len(batches) - 1, 5).astype(int).tolist()
    start, iterator = time.perf_counter(), iter(loader)
    print_header("samples of one worker", "private (MiB)", "shared (MiB)", "crops per second")
    for i, _ in enumerate(iterator):
        if i in marks:
            private, shared = _memory(iterator._workers[0].pid)  # type: ignore[attr-defined]
            rate = 16 * (i + 1) / (time.perf_counter() - start)
            print_row(str(16 * (i + 1)), f"{private:.0f}", f"{shared:.0f}", f"{rate:.0f}")


def waiting_share(pairs: list[Pair], reader: Reader, steps: int) -> float:
    """Return the share of the training time (model=unet_res_small, loss=l1, batch size 4) that waits for the loader."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = instantiate(config.compose("model=unet_res_small").model).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    dataset = _dataset("flip_rot", pairs * (4 * (steps + 1)), reader)
    batches = KeyedBatchSampler([len(dataset)], stages=[Stage(0, CROP, 4)])
    iterator = iter(DataLoader(dataset, batch_sampler=batches, num_workers=1))
    next(iterator)
    waited, start = 0.0, time.perf_counter()
    for _ in range(steps):
        requested = time.perf_counter()
        batch = next(iterator)
        waited += time.perf_counter() - requested
        blurred, sharp = (batch[key].to(device).float() / 255 for key in ("blurred", "sharp"))
        optimizer.zero_grad()
        (network(blurred) - sharp).abs().mean().backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
    return waited / (time.perf_counter() - start)


def pairs_per_second(scenes: Synthesis, count: int) -> float:
    """Return the number of 256x256 pairs that one core generates and writes per second."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for i in range(count):
            for name, image in zip("bs", scenes.scene_pair(np.random.default_rng(i), CROP, CROP)[:2], strict=True):
                write_png(Path(folder, f"{name}{i}.png"), image)
        return count / (time.perf_counter() - start)


def endless_per_second(scenes: Synthesis, count: int) -> tuple[float, float, str]:
    """Return scenes per second that one core renders, pairs per second that the device blurs, and the device's name."""
    cuda = torch.cuda.is_available()
    dataset = SceneDataset(scenes, source=dead_leaves, count=count, seed=0)
    start = time.perf_counter()
    samples = [dataset[0, i, CROP] for i in range(count)]
    rendered = count / (time.perf_counter() - start)
    collated = default_collate(samples[:16])
    batch = {k: v.cuda() if cuda and isinstance(v, torch.Tensor) else v for k, v in collated.items()}

    def blur() -> None:
        dataset.finish_batch(batch)
        if cuda:
            torch.cuda.synchronize()

    seconds = alternate({"blur": blur}, 20 if cuda else 1, warm_up=1)["blur"]
    name = torch.cuda.get_device_name() if cuda else "one CPU core"
    return rendered, len(samples[:16]) / statistics.median(seconds), name


def _dataset(augment: str, pairs: list[Pair], reader: Reader) -> PairDataset:
    cfg = config.compose(f"augment={augment}", f"augment.size={CROP}")
    return PairDataset(pairs, augmentations={CROP: instantiate(cfg.augment)}, reader=reader)


def _memory(process: int) -> tuple[float, float]:
    """Return the private and the shared memory of a process in MiB."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    sizes = {name: int(size) / 1024 for name, size in re.findall(r"(\w+):\s+(\d+) kB", text)}
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return private, sizes["Shared_Clean"] + sizes["Shared_Dirty"]


if __name__ == "__main__":
    main()
