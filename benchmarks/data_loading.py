"""Cost of data loading: time per crop, waiting time of a step, memory of a worker, rate of synthesis.

    python benchmarks/data_loading.py [--samples 100000] [Hydra overrides, e.g. data=gopro data.root=...]

Without overrides a small data set of 1280x720 pairs in GoPro's layout is generated first. Prints:

- the median time to read and augment a random 256x256 crop from the frame store and from image files, alternating in
  this process; target of the ratio without augmentation: at least 100
- private and shared memory of a loader's worker over an epoch
- the share of a training step that waits for the loader
- the rate at which synthetic pairs are generated
"""

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, default_collate

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


def main() -> None:
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20000, help="length of the epoch whose memory is measured")
    parser.add_argument("overrides", nargs="*", help="config overrides")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        overrides = arguments.overrides or ["data=gopro", f"data.root={write_data_set(Path(folder))}"]
        cfg = config.compose(*overrides)
        data = instantiate(cfg.data)
        data.prepare()
        pairs = data.train()
        files = sorted({path for pair in pairs for path in (pair.blurred, pair.sharp)})
        for _ in write_frame_store(data.root, files):
            pass
        store = FrameStore(data.root)
        for augment in ("none", "flip_rot"):
            from_store, from_files = compare(augment, pairs, store)
            print(
                f"augment={augment:<9} frame store {from_store * 1e3:6.2f} ms   files {from_files * 1e3:6.1f} ms   "
                f"ratio {from_files / from_store:5.0f}",
                flush=True,
            )
        print_memory(pairs, store, arguments.samples)
        for reader, name in ((store, "frame store"), (read_image, "files")):
            print(
                f"share of a training step that waits for one worker, {name}: {waiting_share(pairs, reader):.1%}",
                flush=True,
            )
    scenes: Synthesis = instantiate(config.compose("data=synthetic").data.scenes)
    print(f"synthetic pairs of 256x256, written to disk: {pairs_per_second(scenes):.1f} per second and core")
    rendered, blurred, device = endless_per_second(scenes)
    print(
        f"endless pairs of 256x256: {rendered:.1f} scenes rendered per second and core, {blurred:.1f} blurred per "
        f"second on {device}"
    )


def write_data_set(root: Path) -> Path:
    """Write 3 training sequences of 8 pairs and one test pair in GoPro's layout; return the folder."""
    synthesis = Synthesis()
    for sequence, count in (("train/a", 8), ("train/b", 8), ("train/c", 8), ("test/d", 1)):
        for kind in ("blur", "sharp"):
            (root / sequence / kind).mkdir(parents=True)
        for i in range(count):
            blurred, sharp, _ = synthesis.scene_pair(np.random.default_rng(i), 720, 1280)
            write_png(root / sequence / "blur" / f"{i:06d}.png", blurred)
            write_png(root / sequence / "sharp" / f"{i:06d}.png", sharp)
    return root


def compare(augment: str, pairs: list[Pair], store: FrameStore) -> tuple[float, float]:
    """Return the median seconds per crop from the frame store and from image files."""
    datasets = [_dataset(augment, pairs, reader) for reader in (store, read_image)]
    for i in range(len(pairs)):  # the first read of a frame verifies its checksum
        datasets[0][0, i, CROP]
    seconds: list[list[float]] = [[], []]
    for turn in range(40):
        for dataset, times, count in zip(datasets, seconds, (20, 1), strict=True):
            start = time.perf_counter()
            for i in range(count):
                dataset[turn, (turn * 7 + i) % len(pairs), CROP]
            times.append((time.perf_counter() - start) / count)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def print_memory(pairs: list[Pair], store: FrameStore, samples: int) -> None:
    """Print the memory of a worker during an epoch, and its rate."""
    dataset = _dataset("none", pairs * (samples // len(pairs)), store)
    batches = KeyedBatchSampler([len(dataset)], stages=[Stage(0, CROP, 16)])
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=1, persistent_workers=True)
    marks = np.linspace(0, len(batches) - 1, 5).astype(int).tolist()
    start, iterator = time.perf_counter(), iter(loader)
    for i, _ in enumerate(iterator):
        if i in marks:
            private, shared = _memory(iterator._workers[0].pid)  # type: ignore[attr-defined]
            print(
                f"  after {16 * (i + 1):7d} samples: {private:5.0f} MiB private, {shared:5.0f} MiB shared", flush=True
            )
    rate = 16 * len(batches) / (time.perf_counter() - start)
    print(f"one worker: {rate:.0f} crops per second")


def waiting_share(pairs: list[Pair], reader: Reader) -> float:
    """Return the share of the training time (model=unet_res_small, loss=l1, batch size 4) that waits for the loader."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = instantiate(config.compose("model=unet_res_small").model).to(device)
    optimizer = torch.optim.Adam(network.parameters())
    dataset = _dataset("flip_rot", pairs * 64, reader)
    batches = KeyedBatchSampler([len(dataset)], stages=[Stage(0, CROP, 4)])
    iterator = iter(DataLoader(dataset, batch_sampler=batches, num_workers=1))
    next(iterator)
    waited, start = 0.0, time.perf_counter()
    for _ in range(12):
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


def pairs_per_second(scenes: Synthesis) -> float:
    """Return the number of 256x256 pairs that one core generates and writes per second."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        for i in range(60):
            for name, image in zip("bs", scenes.scene_pair(np.random.default_rng(i), 256, 256)[:2], strict=True):
                write_png(Path(folder, f"{name}{i}.png"), image)
        return 60 / (time.perf_counter() - start)


def endless_per_second(scenes: Synthesis) -> tuple[float, float, str]:
    """Return scenes per second that one core renders, pairs per second that the device blurs, and the device's name."""
    cuda = torch.cuda.is_available()
    dataset = SceneDataset(scenes, source=dead_leaves, count=16, seed=0)
    start = time.perf_counter()
    batch = default_collate([dataset[0, i, CROP] for i in range(16)])
    rendered = 16 / (time.perf_counter() - start)
    batch = {k: v.cuda() if cuda and isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    dataset.finish_batch(batch)
    rounds = 20 if cuda else 1
    start = time.perf_counter()
    for _ in range(rounds):
        dataset.finish_batch(batch)
    if cuda:
        torch.cuda.synchronize()
    name = torch.cuda.get_device_name() if cuda else "one CPU core"
    return rendered, 16 * rounds / (time.perf_counter() - start), name


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
