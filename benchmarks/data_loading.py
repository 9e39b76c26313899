"""What it costs to feed a training: crops out of the frame store against crops out of image files, made pairs, memory.

    python benchmarks/data_loading.py [--samples 100000] [hydra overrides, e.g. data=gopro data.root=...]

Without overrides it makes a small GoPro of 1280x720 pairs first. Crops are random ones of 256 pixels, read and
augmented in this process, in turns; printed are medians. Memory is that of a loader's worker over an epoch, private
and shared pages apart.
"""

import argparse
import re
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from torch.utils.data import DataLoader

from deblurlab import conf
from deblurlab.data import KeyedBatches, PairDataset, Stage
from deblurlab.data.frames import FrameStore, Reader, pack
from deblurlab.data.images import read_image, write_png
from deblurlab.data.pairs import Pair
from deblurlab.synthesis import Synthesis

CROP = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20000, help="of the epoch whose memory is watched")
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        overrides = arguments.overrides or ["data=gopro", f"data.root={made(Path(folder))}"]
        cfg = conf.compose(*overrides)
        data = instantiate(cfg.data, _convert_="all")
        data.prepare()
        pairs = data.train()
        files = sorted({path for pair in pairs for path in (pair.blurred, pair.sharp)})
        for _ in pack(data.root, files):
            pass
        store = FrameStore(data.root)
        for augment in ("none", "flip_rot"):
            from_store, from_files = compare(augment, pairs, store)
            print(
                f"augment={augment:<9} frame store {from_store * 1e3:6.2f} ms   files {from_files * 1e3:6.1f} ms   "
                f"ratio {from_files / from_store:5.0f}",
                flush=True,
            )
        watch(pairs, store, arguments.samples)
    print(f"made pairs of 256x256: {made_per_second():.1f} per second and core")


def made(root: Path) -> Path:
    """A GoPro of 8 pairs in each of 3 training sequences, and one test pair."""
    synthesis = Synthesis()
    for place, count in (("train/a", 8), ("train/b", 8), ("train/c", 8), ("test/d", 1)):
        for kind in ("blur", "sharp"):
            (root / place / kind).mkdir(parents=True)
        for i in range(count):
            blurred, sharp, _ = synthesis.scene_pair(np.random.default_rng(i), 720, 1280)
            write_png(root / place / "blur" / f"{i:06d}.png", blurred)
            write_png(root / place / "sharp" / f"{i:06d}.png", sharp)
    return root


def compare(augment: str, pairs: list[Pair], store: FrameStore) -> tuple[float, float]:
    """Median seconds of a crop out of the store, and out of files."""
    datasets = [_dataset(augment, pairs, reader) for reader in (store, read_image)]
    for i in range(len(pairs)):  # every frame's checksum is tested when it is first read
        datasets[0][0, i, CROP]
    spent: list[list[float]] = [[], []]
    for turn in range(40):
        for dataset, times, count in zip(datasets, spent, (20, 1), strict=True):
            start = time.perf_counter()
            for i in range(count):
                dataset[turn, (turn * 7 + i) % len(pairs), CROP]
            times.append((time.perf_counter() - start) / count)
    return statistics.median(spent[0]), statistics.median(spent[1])


def watch(pairs: list[Pair], store: FrameStore, samples: int) -> None:
    """Print a worker's memory along an epoch."""
    dataset = _dataset("none", pairs * (samples // len(pairs)), store)
    batches = KeyedBatches([len(dataset)], stages=[Stage(0, CROP, 16)])
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


def made_per_second() -> float:
    """Pairs of 256x256 that one core makes, as conf/data/synthetic.yaml asks for them."""
    scenes: Synthesis = instantiate(conf.compose("data=synthetic").data.scenes, _convert_="all")
    start = time.perf_counter()
    for i in range(40):
        scenes.scene_pair(np.random.default_rng(i), 256, 256)
    return 40 / (time.perf_counter() - start)


def _dataset(augment: str, pairs: list[Pair], reader: Reader) -> PairDataset:
    cfg = conf.compose(f"augment={augment}", f"augment.size={CROP}")
    return PairDataset(pairs, augmentations={CROP: instantiate(cfg.augment, _convert_="all")}, reader=reader)


def _memory(process: int) -> tuple[float, float]:
    """MiB of private and of shared pages."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text()
    sizes = {name: int(size) / 1024 for name, size in re.findall(r"(\w+):\s+(\d+) kB", text)}
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return private, sizes["Shared_Clean"] + sizes["Shared_Dirty"]


if __name__ == "__main__":
    main()
