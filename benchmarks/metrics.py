"""Cost of measurement: time of scikit-image's SSIM relative to ours, and the overhead of metrics in an evaluation.

    python benchmarks/metrics.py [--images 8] [Hydra overrides of the model, e.g. model=nafnet_32]

SSIM: both implementations measure the same RGB pair on one core, alternating. Prints the median ratio of the times, and
the difference of ours in float64 and in float32 to scikit-image's value in float64.

Overhead: the share of an evaluation's wall time (random weights, 640x360 pairs) that exceeds the time of restoring.
Metrics of one image are computed while the next image is restored.
"""

import functools
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.metrics import structural_similarity

from common import alternate, argument_parser, median_ratio, parse, print_header, print_row
from deblurlab import config
from deblurlab.config import instantiate
from deblurlab.datasets import Pair
from deblurlab.evaluation.evaluator import Task, evaluate_tasks
from deblurlab.metrics import Measurement, ssim
from deblurlab.metrics.ssim import ssim_of_levels
from deblurlab.restorers import BaseRestorer, Restored
from deblurlab.synthesis import Synthesis

reference = functools.partial(
    structural_similarity, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both measurements."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=8, help="number of images of the evaluation")
    parser.add_argument("--size", type=int, nargs=2, default=[720, 1280], help="height and width of the pair for SSIM")
    parser.add_argument("overrides", nargs="*", default=["model=nafnet_32"], help="config overrides of the model")
    options = parse(parser, arguments)
    print_ssim(*options.size)
    print()
    print_overhead(options.images, options.overrides)


def print_ssim(height: int, width: int) -> None:
    """Print the time of scikit-image's SSIM relative to ours, and the differences of the values."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    blurred, sharp, _ = Synthesis().scene_pair(np.random.default_rng(0), height, width)
    levels = [torch.from_numpy(image).permute(2, 0, 1)[None] for image in (blurred, sharp)]
    images = [image / 255 for image in levels]
    seconds = alternate({"ours": lambda: ssim(*images), "scikit-image": lambda: reference(blurred, sharp)}, 7)
    expected = float(reference(blurred, sharp))
    found = ssim(*images), ssim_of_levels(*(image.float() for image in levels))
    ratio = median_ratio(seconds["scikit-image"], seconds["ours"])
    print_header(f"SSIM of {width}x{height} RGB, one core", "measured", "target")
    print_row("scikit-image / ours, time", f"{ratio:.2f}", "at least 2")
    print_row("difference to scikit-image, float64", f"{abs(found[0].item() - expected):.1e}", "at most 1e-9")
    print_row("difference to scikit-image, float32", f"{abs(found[1].item() - expected):.1e}", "at most 1e-6")
    torch.set_num_threads(threads[0])
    cv2.setNumThreads(threads[1])


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
    for _ in evaluate_tasks(work, Model(), Measurement.of(config.compose(name="evaluate")), read):
        pass
    total = time.perf_counter() - start
    print_header("evaluation", "restoring (s)", "total (s)", "share of metrics and reading (%)")
    name = f"{' '.join(overrides)}, {images} images of 640x360"
    print_row(name, f"{restoring:.2f}", f"{total:.2f}", f"{100 * (total - restoring) / total:.1f}")


if __name__ == "__main__":
    main()
