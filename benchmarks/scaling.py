"""What a training on many devices asks of disks and networks, out of what other benchmarks have printed.

    python benchmarks/training_step.py --pairs 10 model=unet_res loader.batch_size=16 augment.size=256 ... > step.txt
    python benchmarks/data_loading.py > loading.txt
    python benchmarks/scaling.py step.txt loading.txt --model unet_res --gpus 1 8 64

Prints what each device's share of a batch needs per second, what gradients weigh, and a simulation of steps: devices
wait for their data and, at each step's end, for the slowest and for the gradients, of which a part travels during the
backward pass. `--pairs` and `--step-ms` take the place of what was measured: a question, not a measurement.
"""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hydra.utils import instantiate

from deblurlab import config
from deblurlab.models.cost import count_parameters

STEPS = 400
JITTER = 0.05
"""Standard deviation of the logarithm of what a step, or a batch's loading, takes."""
PREFETCH = 2
"""Batches that each worker has ready."""
OVERLAP = 0.5
"""Share of a step during which gradients travel without anyone waiting: most of the backward pass."""
FRAME = 720, 1280
PAGE = 4096


class Given(NamedTuple):
    pairs: int
    """Of a device in a step."""
    crop: int
    step: float
    """Seconds."""
    store: float
    """Seconds to a crop's pair out of the frame store, augmented; likewise out of image files."""
    files: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", type=Path, help="what training_step.py has printed")
    parser.add_argument("loading", type=Path, help="what data_loading.py has printed")
    parser.add_argument("--loss", default="l1+vgg+adv")
    parser.add_argument("--model", default="unet_res")
    parser.add_argument("--pairs", type=int, help="of a device in a step, instead of the measured number")
    parser.add_argument("--step-ms", type=float, help="instead of the measured one")
    parser.add_argument("--workers", type=int, default=8, help="of each device")
    parser.add_argument("--files", action="store_true", help="crops come out of image files, not of the frame store")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--gpus-per-node", type=int, default=8)
    parser.add_argument("--link", type=float, default=200, help="between machines, Gbit/s each way")
    parser.add_argument("--inner", type=float, default=2400, help="between the devices of a machine, Gbit/s")
    options = parser.parse_args()
    given = read(options.step.read_text(), options.loading.read_text(), options.loss)
    asked = {"pairs": options.pairs, "step": options.step_ms and options.step_ms / 1e3}
    given = given._replace(**{name: value for name, value in asked.items() if value})
    data(given, options.workers)
    given = given._replace(store=given.files) if options.files else given
    weight = gradients(options.model, options.loss)
    print(f"{'GPUs':>6}{'pairs/s':>10}{'of ideal':>10}{'wait: data':>12}{'gradients':>11}{'GB/s of crops':>15}")
    for count in options.gpus:
        slow = options.link if count > options.gpus_per_node else options.inner
        travel = 2 * (count - 1) / count * weight * 8 / (slow * 1e9) if count > 1 else 0.0
        share, waited, exposed = simulate(given, count, options.workers, travel)
        rate = share * count * given.pairs / given.step
        volume = rate * 2 * 3 * given.crop**2 / 1e9
        print(f"{count:>6}{rate:>10,.0f}{share:>10.1%}{waited:>12.1%}{exposed:>11.1%}{volume:>15.3f}")


def read(step: str, loading: str, loss: str) -> Given:
    found = re.search(rf"^{re.escape('loss=' + loss)} +(\d+) pairs of (\d+): framework +([\d.]+) ms", step, re.M)
    crops = re.search(r"^augment=flip_rot +frame store +([\d.]+) ms +files +([\d.]+) ms", loading, re.M)
    if found is None or crops is None:
        raise SystemExit(f"no line on loss={loss} in the first file, or none on augment=flip_rot in the second")
    store, files = (float(value) / 1e3 for value in crops.groups())
    return Given(int(found[1]), int(found[2]), float(found[3]) / 1e3, store, files)


def data(given: Given, workers: int) -> None:
    """What one device asks for."""
    rate = given.pairs / given.step
    wanted = 2 * 3 * given.crop**2
    pages = 2 * touched(given.crop)
    whole = 2 * 3 * FRAME[0] * FRAME[1]
    print(f"a device: {given.pairs} pairs of {given.crop} in {given.step * 1e3:.1f} ms, {rate:.0f} pairs/s")
    print(f"  crops                                {rate * wanted / 1e6:9.1f} MB/s")
    print(
        f"  pages of a frame store beyond memory {rate * pages / 1e6:9.1f} MB/s, {pages / wanted:.1f} times the crops"
    )
    print(f"  whole frames, uncompressed           {rate * whole / 1e6:9.1f} MB/s")
    for name, seconds in (("frame store", given.store), ("image files", given.files)):
        print(f"  {name}: {rate * seconds:.1f} busy workers; {workers} deliver {workers / seconds:.0f} pairs/s")


def touched(crop: int) -> int:
    """Bytes of the pages in which a crop's rows lie, on average over where it is."""
    row, starts = 3 * FRAME[1], np.random.default_rng(0).integers(0, 3 * (FRAME[1] - crop), 200)
    counts = []
    for start in starts:
        first = (np.arange(crop) * row + start) // PAGE
        last = (np.arange(crop) * row + start + 3 * crop - 1) // PAGE
        counts.append(len(np.unique(np.concatenate([first, last]))))
    return int(np.mean(counts) * PAGE)


def gradients(model: str, loss: str) -> float:
    """Bytes of a step's gradients, float32 as they travel; of each published model for comparison."""
    judged = 4 * count_parameters(instantiate(config.compose().discriminator)) if "adv" in loss else 0
    weights = {
        name: 4 * count_parameters(instantiate(config.compose(f"model={name}").model)) for name in config.options("model")
    }
    listed = ", ".join(
        f"{name} {weight / 1e6:.0f}" for name, weight in sorted(weights.items(), key=lambda item: item[1])
    )
    print(f"gradients in MB: {listed}; the discriminator {judged / 1e6:.0f}")
    return float(weights[model] + judged)


def simulate(given: Given, devices: int, workers: int, travel: float) -> tuple[float, float, float]:
    """(speed as a share of devices that never wait, share of the time that waits for data, and for gradients)"""
    random = np.random.default_rng(0)

    def around(seconds: float) -> np.ndarray:
        return seconds * random.lognormal(-(JITTER**2) / 2, JITTER, devices)

    loading = given.pairs * given.store
    ready = np.zeros((STEPS, devices))
    begun = np.zeros((STEPS, devices))
    now, data_wait, gradient_wait = 0.0, 0.0, 0.0
    for step in range(STEPS):
        free = ready[step - workers] if step >= workers else np.zeros(devices)
        room = begun[step - workers * PREFETCH] if step >= workers * PREFETCH else np.zeros(devices)
        ready[step] = np.maximum(free, room) + around(loading)
        begun[step] = np.maximum(now, ready[step])
        if step == workers:  # it has begun to flow
            start, data_wait, gradient_wait = now, 0.0, 0.0
        computed = float((begun[step] + around(given.step)).max())
        exposed = max(0.0, travel - OVERLAP * given.step)
        data_wait += float(begun[step].max()) - now
        gradient_wait += exposed
        now = computed + exposed
    whole = now - start
    return (STEPS - workers) * given.step / whole, data_wait / whole, gradient_wait / whole


if __name__ == "__main__":
    main()
