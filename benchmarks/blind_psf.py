"""Blind estimation of the psf: correlation with the true psf, refusals, time.

    python benchmarks/blind_psf.py [--shakes 16] [--lengths 3 15] [--rotation 0.5]
                                   [--photographs NAME ...] [--source FOLDER]

Every photograph of the default test set, or of a folder, is blurred by random camera shakes in linear light with noise,
as in the default test set, and both estimators are applied: the general one (`psf=estimate`) and that of straight
motion (`psf=estimate_straight`). The correlation is the maximum over shifts of the normalised cross-correlation with
the true psf; an estimate is right from 0.8 on. Photographs of a folder are reduced to 700 pixels at most.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import fftconvolve

from common import argument_parser, parse, print_header, print_row
from deblurlab.classical import EstimationError, estimate_motion, estimate_psf, line_psf
from deblurlab.classical.frequency import Array
from deblurlab.datasets.synthetic import PHOTOGRAPHS
from deblurlab.media.srgb import srgb_to_linear
from deblurlab.synthesis import Synthesis

RIGHT = 0.8
MAX_SIDE = 700
SUFFIXES = {".png", ".jpg", ".jpeg"}


def straight(image: Array) -> Array:
    """Return the psf of the estimated linear motion."""
    return line_psf(*estimate_motion(image)[:2])


ESTIMATORS: dict[str, Callable[[Array], Array]] = {
    "estimate": lambda image: estimate_psf(image).psf,
    "estimate_straight": straight,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--shakes", type=int, default=16, help="number of blurs of each photograph")
    parser.add_argument("--lengths", type=float, nargs=2, default=(3, 15), help="range of the blur length in pixels")
    parser.add_argument("--rotation", type=float, default=0.5, help="maximum rotation in degrees")
    parser.add_argument("--photographs", nargs="+", metavar="NAME", help="photographs to blur; all by default")
    parser.add_argument("--source", type=Path, help="folder of sharp photographs")
    options = parse(parser, arguments)
    print_header("photograph", "psf", "right", "wrong", "not found", "median correlation", "CPU s", "CPU s/MP")
    results: dict[str, list[tuple[float | None, float, float]]] = {name: [] for name in ESTIMATORS}
    for number, (photograph, image) in enumerate(photographs(options.source)):
        if options.photographs and photograph not in options.photographs:
            continue
        for name, measured in measure(image, number, options).items():
            results[name] += measured
            print_result(photograph, name, measured)
    for name, measured in results.items():
        print_result("all", name, measured)


def photographs(folder: Path | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and sharp images, `(H, W, 3)` sRGB."""
    if folder is None:
        yield from ((name, load()) for name, load in PHOTOGRAPHS.items())
        return
    for file in sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES):
        image = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
        scale = min(1, MAX_SIDE / max(image.shape))
        yield file.stem, np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def measure(
    image: np.ndarray, number: int, options: argparse.Namespace
) -> dict[str, list[tuple[float | None, float, float]]]:
    """Return correlation (None: not found), CPU seconds and megapixels of each blur, by estimator."""
    shakes = Synthesis(
        blur_length=tuple(options.lengths), rotation=(0.0, options.rotation), objects=(0, 0), softness=(0.0, 0.0)
    )
    results: dict[str, list[tuple[float | None, float, float]]] = {name: [] for name in ESTIMATORS}
    for shake in range(options.shakes):
        blurred, _, parameters = shakes.photo_pair(np.random.default_rng((number, shake)), image)
        light = srgb_to_linear(blurred / 255)
        for name, estimator in ESTIMATORS.items():
            start = time.process_time()
            try:
                found: float | None = correlation(estimator(light), np.array(parameters.psf))
            except EstimationError:
                found = None
            results[name].append((found, time.process_time() - start, light[..., 0].size / 1e6))
    return results


def correlation(a: Array, b: Array) -> float:
    """Return the maximum over shifts of the normalised cross-correlation of two psfs."""
    return float(fftconvolve(a, b[::-1, ::-1]).max() / (np.linalg.norm(a) * np.linalg.norm(b)))


def print_result(photograph: str, name: str, measured: list[tuple[float | None, float, float]]) -> None:
    """Print a row of the table."""
    values = np.array([value for value, _, _ in measured if value is not None])
    right, count = int((values >= RIGHT).sum()), len(measured)
    shares = [f"{n / count:.0%}" for n in (right, len(values) - right, count - len(values))]
    seconds, megapixels = sum(s for _, s, _ in measured), sum(m for _, _, m in measured)
    median = f"{np.median(values):.2f}" if len(values) else "-"
    print_row(photograph, f"`{name}`", *shares, median, f"{seconds / count:.2f}", f"{seconds / megapixels:.2f}")


if __name__ == "__main__":
    main()
