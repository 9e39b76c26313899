"""Requirements of multi-GPU training on storage and network, computed from the output of other benchmarks.

    python benchmarks/training_step.py --loss l1+vgg+adv model=unet_res augment.size=256 ... > step.txt
    python benchmarks/data_loading.py > loading.txt
    python benchmarks/scaling.py step.txt loading.txt --model unet_res --gpus 1 8 64

Prints the data rate that each device needs, the size of the gradients, and a simulation of training steps. In the
simulation devices wait for their data and, at the end of each step, for the slowest device and for the part of the
gradients that is not transferred during the backward pass. `--pairs` and `--step-ms` replace measured values, for
projections.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from common import argument_parser, parse, print_header, print_row, read_rows
from deblurlab import config
from deblurlab.config import instantiate
from deblurlab.models.cost import count_parameters

STEPS = 400
JITTER = 0.05
"""Standard deviation of the logarithm of the time of a step, and of loading a batch."""
PREFETCH = 2
"""Batches that each worker prefetches."""
OVERLAP = 0.5
"""Fraction of a step during which gradients are transferred in the background: most of the backward pass."""
FRAME = 720, 1280
"""Height and width of a frame."""
PAGE = 4096
"""Bytes of a memory page."""


class Measured(NamedTuple):
    """Measured values of one device."""

    pairs: int
    """Batch size of a device."""
    crop: int
    """Side of a crop in pixels."""
    step: float
    """Seconds per step."""
    store: float
    """Seconds to read and augment a pair of crops from the frame store."""
    files: float
    """Seconds to read and augment a pair of crops from image files."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print data rates, gradient sizes and the simulation."""
    parser = argument_parser(__doc__)
    parser.add_argument("step", type=Path, help="output of training_step.py")
    parser.add_argument("loading", type=Path, help="output of data_loading.py")
    parser.add_argument("--loss", default="l1+vgg+adv", help="loss whose step was measured")
    parser.add_argument("--model", default="unet_res", help="model whose gradients are transferred")
    parser.add_argument("--pairs", type=int, help="batch size of a device, instead of the measured one")
    parser.add_argument("--step-ms", type=float, help="milliseconds per step, instead of the measured ones")
    parser.add_argument("--workers", type=int, default=8, help="loader workers of each device")
    parser.add_argument("--files", action="store_true", help="read crops from image files, not from the frame store")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64], help="numbers of devices")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="devices of a machine")
    parser.add_argument("--link", type=float, default=200, help="bandwidth between machines, Gbit/s each way")
    parser.add_argument("--inner", type=float, default=2400, help="bandwidth between the devices of a machine, Gbit/s")
    options = parse(parser, arguments)
    measured = read(options.step.read_text(), options.loading.read_text(), options.loss)
    replaced = {"pairs": options.pairs, "step": options.step_ms and options.step_ms / 1e3}
    measured = measured._replace(**{name: value for name, value in replaced.items() if value})
    print_data_rates(measured, options.workers)
    print()
    measured = measured._replace(store=measured.files) if options.files else measured
    size = gradient_bytes(options.model, options.loss)
    print()
    print_header("GPUs", "pairs / s", "of ideal (%)", "wait for data (%)", "for gradients (%)", "crops (GB/s)")
    for count in options.gpus:
        bandwidth = options.link if count > options.gpus_per_node else options.inner
        transfer = 2 * (count - 1) / count * size * 8 / (bandwidth * 1e9) if count > 1 else 0.0
        shares = simulate(measured, count, options.workers, transfer)
        rate = shares[0] * count * measured.pairs / measured.step
        volume = rate * 2 * 3 * measured.crop**2 / 1e9
        print_row(str(count), f"{rate:.0f}", *(f"{100 * share:.1f}" for share in shares), f"{volume:.3f}")


def read(step: str, loading: str, loss: str) -> Measured:
    """Read measured values from the output of training_step.py and data_loading.py."""
    steps = [row for row in read_rows(step) if row.get("loss") == loss]
    crops = [row for row in read_rows(loading) if row.get("256x256 crops") == "augment=flip_rot"]
    if not steps or not crops:
        raise SystemExit(f"the first file has no row for {loss}, or the second none for augment=flip_rot")
    pairs, crop = steps[0]["batch"].split(" pairs of ")
    milliseconds = steps[0]["framework (ms)"], crops[0]["frame store (ms)"], crops[0]["files (ms)"]
    return Measured(int(pairs), int(crop), *(float(value) / 1e3 for value in milliseconds))


def print_data_rates(measured: Measured, workers: int) -> None:
    """Print the data rates that one device needs."""
    rate = measured.pairs / measured.step
    crops = 2 * 3 * measured.crop**2
    pages = 2 * page_bytes(measured.crop)
    frames = 2 * 3 * FRAME[0] * FRAME[1]
    print_header(f"one device, {measured.pairs} pairs of {measured.crop} in {measured.step * 1e3:.1f} ms", "computed")
    print_row("pairs per second", f"{rate:.0f}")
    print_row("crops (MB/s)", f"{rate * crops / 1e6:.1f}")
    print_row("pages of a frame store beyond memory (MB/s)", f"{rate * pages / 1e6:.1f}")
    print_row("the same / crops", f"{pages / crops:.1f}")
    print_row("whole frames, uncompressed (MB/s)", f"{rate * frames / 1e6:.1f}")
    for name, seconds in (("frame store", measured.store), ("image files", measured.files)):
        print_row(f"busy workers, {name}", f"{rate * seconds:.1f}")
        print_row(f"pairs per second of {workers} workers, {name}", f"{workers / seconds:.0f}")


def page_bytes(crop: int) -> int:
    """Return the bytes of the pages that a crop's rows touch, averaged over its position."""
    row, starts = 3 * FRAME[1], np.random.default_rng(0).integers(0, 3 * (FRAME[1] - crop), 200)
    counts = []
    for start in starts:
        first = (np.arange(crop) * row + start) // PAGE
        last = (np.arange(crop) * row + start + 3 * crop - 1) // PAGE
        counts.append(len(np.unique(np.concatenate([first, last]))))
    return int(np.mean(counts) * PAGE)


def gradient_bytes(model: str, loss: str) -> float:
    """Return the bytes of a step's gradients in float32; print those of every model for comparison."""
    with torch.device("meta"):
        networks = {name: config.compose(f"model={name}").model for name in config.options("model")}
        networks["discriminator"] = config.compose().discriminator
        sizes = {name: 4 * count_parameters(instantiate(node)) for name, node in networks.items()}
    print_header("network", "gradients (MB)")
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        print_row(name, f"{size / 1e6:.0f}")
    return float(sizes[model] + ("adv" in loss) * sizes["discriminator"])


def simulate(measured: Measured, devices: int, workers: int, transfer: float) -> tuple[float, float, float]:
    """Simulate training steps.

    Args:
        measured: Measured values.
        devices: Number of devices.
        workers: Loader workers of each device.
        transfer: Seconds to transfer the gradients.

    Returns:
        The speed relative to devices that never wait, and the shares of the time spent waiting for data and for
        gradients.
    """
    random = np.random.default_rng(0)

    def jitter(seconds: float) -> np.ndarray:
        return seconds * random.lognormal(-(JITTER**2) / 2, JITTER, devices)

    loading = measured.pairs * measured.store
    ready = np.zeros((STEPS, devices))
    started = np.zeros((STEPS, devices))
    now, data_wait, gradient_wait = 0.0, 0.0, 0.0
    for step in range(STEPS):
        free = ready[step - workers] if step >= workers else np.zeros(devices)
        room = started[step - workers * PREFETCH] if step >= workers * PREFETCH else np.zeros(devices)
        ready[step] = np.maximum(free, room) + jitter(loading)
        started[step] = np.maximum(now, ready[step])
        if step == workers:  # the pipeline is full
            start, data_wait, gradient_wait = now, 0.0, 0.0
        computed = float((started[step] + jitter(measured.step)).max())
        exposed = max(0.0, transfer - OVERLAP * measured.step)
        data_wait += float(started[step].max()) - now
        gradient_wait += exposed
        now = computed + exposed
    total = now - start
    return (STEPS - workers) * measured.step / total, data_wait / total, gradient_wait / total


if __name__ == "__main__":
    main()
