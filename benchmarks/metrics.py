"""Cost of measurement: time of scikit-image's SSIM relative to ours, and the overhead of metrics in an evaluation.

    python benchmarks/metrics.py [--images 8] [Hydra overrides of the model, e.g. model=nafnet_32]

SSIM: both implementations measure the same 1280x720 RGB pair on one core, alternating. Prints the median ratio and the
difference of the values. Targets: at least 2, and at most 1e-9.

Overhead: the share of an evaluation's wall time (random weights, 640x360 pairs) that exceeds the time of restoring.
Metrics of one image are computed while the next image is restored.
"""

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.metrics import structural_similarity

from deblurlab import config
from deblurlab.config import instantiate
from deblurlab.datasets import Pair
from deblurlab.evaluation.evaluator import Task, evaluate_tasks
from deblurlab.metrics import Protocol, ssim
from deblurlab.restorers import BaseRestorer, Restored
from deblurlab.synthesis import Synthesis


def main() -> None:
    """Run both measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8, help="number of images of the evaluation")
    parser.add_argument("overrides", nargs="*", default=["model=nafnet_32"], help="config overrides of the model")
    arguments = parser.parse_args()
    compare_ssim()
    print_overhead(arguments.images, arguments.overrides)


def compare_ssim() -> None:
    """Print the time of scikit-image's SSIM relative to ours, and the difference of the values."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    blurred, sharp, _ = Synthesis().scene_pair(np.random.default_rng(0), 720, 1280)
    tensors = [torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in (blurred, sharp)]
    ratios, values = [], (0.0, 0.0)
    for _ in range(7):
        start = time.perf_counter()
        value = ssim(*tensors).item()
        middle = time.perf_counter()
        expected = structural_similarity(
            sharp, blurred, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        ratios.append((time.perf_counter() - middle) / (middle - start))
        values = value, float(expected)
    print(
        f"SSIM of 1280x720 RGB, one core: scikit-image / ours {statistics.median(ratios):.1f}; "
        f"values differ by {abs(values[0] - values[1]):.1e}"
    )
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def print_overhead(images: int, overrides: list[str]) -> None:
    """Print the share of an evaluation's time that metrics and reading add to restoring."""
    network = instantiate(config.compose(*overrides).model).eval().to(memory_format=torch.channels_last)
    pairs = [Synthesis().scene_pair(np.random.default_rng(i), 360, 640)[:2] for i in range(images)]
    restoring = 0.0

    class Model(BaseRestorer):
        @torch.inference_mode()
        def __call__(self, blurred: torch.Tensor, pair: Pair) -> Restored:
            nonlocal restoring
            start = time.perf_counter()
            restored = network(blurred[None].to(memory_format=torch.channels_last))[0]
            restoring += time.perf_counter() - start
            return Restored(restored)

    def read(path: Path) -> np.ndarray:
        number, side = path.name.split("-")
        return pairs[int(number)][int(side)]

    work = [Task("synthetic", Pair(str(i), Path(f"{i}-0"), Path(f"{i}-1"))) for i in range(images)]
    start = time.perf_counter()
    for _ in evaluate_tasks(work, Model(), Protocol(), read):
        pass
    total = time.perf_counter() - start
    print(
        f"{' '.join(overrides)}, {images} images of 640x360: {total:.1f} s, of which restoring {restoring:.1f} s; "
        f"metrics and reading add {(total - restoring) / total:.1%}"
    )


if __name__ == "__main__":
    main()
