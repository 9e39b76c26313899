"""PSNR of the deep image prior against iterations, and seconds per iteration.

    python benchmarks/deep_prior.py [--size 256] [--iterations 1000] [--widths 32 128] [--patience 200] [--psf ...]

Central crops of the photographs of the default test set are blurred in linear light by a random camera shake with
noise. The table lists the mean gain in dB over the blurred crops after a number of iterations, its maximum, and where
early stopping ends. `oracle` uses the true psf, `none` estimates the psf in the same fit.
"""

import time
from collections.abc import Sequence

import numpy as np

from common import argument_parser, parse, print_header, print_row
from deblurlab.classical.deep_prior import WARM_UP, iterates
from deblurlab.datasets.synthetic import PHOTOGRAPHS
from deblurlab.media.srgb import linear_to_srgb, srgb_to_linear
from deblurlab.synthesis import Synthesis


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the crops in pixels")
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100, help="iterations between two columns")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128], help="channels of the network")
    parser.add_argument("--patience", type=int, default=200, help="iterations of early stopping")
    parser.add_argument("--precision", default="auto", help="auto, fp32 or bf16")
    parser.add_argument("--light", choices=["gamma", "linear"], default="gamma", help="values of the fit")
    parser.add_argument("--psf", nargs="+", choices=["oracle", "none"], default=["oracle", "none"])
    parser.add_argument("--photographs", nargs="+", choices=list(PHOTOGRAPHS), default=list(PHOTOGRAPHS))
    options = parse(parser, arguments)
    columns = range(options.every, options.iterations + 1, options.every)
    print_header("width", "psf", "photograph", "blurred (dB)", *map(str, columns), "best", "stop", "s/iteration")
    shakes = Synthesis(blur_length=(3, 15), rotation=(0.0, 0.0), objects=(0, 0), softness=(0.0, 0.0))
    for width in options.widths:
        for psf in options.psf:
            rows = []
            for number, name in enumerate(PHOTOGRAPHS):
                if name not in options.photographs:
                    continue
                blurred, sharp, parameters = shakes.photo_pair(np.random.default_rng((number, 0)), PHOTOGRAPHS[name]())
                top, left = ((length - options.size) // 2 for length in sharp.shape[:2])
                crop = np.s_[top : top + options.size, left : left + options.size]
                blurred, sharp = blurred[crop] / 255, sharp[crop] / 255
                start = time.process_time()
                gains, variances = [], []
                for restored, variance in iterates(
                    srgb_to_linear(blurred) if options.light == "linear" else blurred,
                    np.array(parameters.psf) if psf == "oracle" else None,
                    iterations=options.iterations,
                    width=width,
                    precision=options.precision,
                    device="cpu",
                ):
                    image = restored[0].numpy().transpose(1, 2, 0)
                    image = linear_to_srgb(image) if options.light == "linear" else image
                    gains.append(psnr(image, sharp) - psnr(blurred, sharp))
                    variances.append(variance)
                seconds = (time.process_time() - start) / options.iterations
                stop = stopped(variances, options.patience)
                rows.append([psnr(blurred, sharp), *(gains[i - 1] for i in columns), max(gains), gains[stop]])
                at = f"{gains[stop]:+.2f} at {stop + 1}"
                best = f"{max(gains):+.2f} at {int(np.argmax(gains)) + 1}"
                cells = [f"{rows[-1][0]:.2f}", *(f"{gains[i - 1]:+.2f}" for i in columns), best, at, f"{seconds:.3f}"]
                print_row(str(width), psf, name, *cells)
            means = np.mean(rows, axis=0)
            print_row(str(width), psf, "mean", f"{means[0]:.2f}", *(f"{value:+.2f}" for value in means[1:]), "")


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return the PSNR of two images in [0, 1]."""
    return float(-10 * np.log10(((a - b) ** 2).mean()))


def stopped(variances: Sequence[float], patience: int) -> int:
    """Return the index of the iterate that early stopping returns."""
    best = 0
    for i, variance in enumerate(variances):
        if i <= WARM_UP or variance < variances[best]:
            best = i
        elif i - best >= patience:
            break
    return best


if __name__ == "__main__":
    main()
