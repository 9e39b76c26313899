"""Statistics of the sharp images and the blur of data sets, to compare synthetic with real data.

    python benchmarks/data_statistics.py data=synthetic 'data=gopro data.root=<GOPRO_Large>' ...

Each argument is a data set with its settings. Up to `--images` of its training pairs, or of its test pairs if it has
no training pairs, are divided into squares of `--side` pixels, so that whole frames and crops are comparable. Prints
the median (and quartiles) over squares of:

- slope: log power of the sharp image against log frequency; about -2 for natural images
- kurtosis: excess kurtosis of the sharp image's horizontal and vertical differences; 0 is normal, natural images
  have much larger values
- contrast: standard deviation of the sharp image's grey values in [0, 1]
- PSNR: of the blurred image, in dB
- energy left: variance of the blurred image's differences divided by that of the sharp image's
"""

import itertools
import shlex
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from common import argument_parser, parse, print_header, print_row
from deblurlab import config
from deblurlab.config import instantiate
from deblurlab.datasets.listing import Pair
from deblurlab.media.images import read_image

Grey = npt.NDArray[np.float64]
COLUMNS = "slope", "kurtosis", "contrast", "PSNR", "energy left"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of the data sets."""
    parser = argument_parser(__doc__)
    parser.add_argument("--images", type=int, default=100, help="maximum number of pairs of a data set")
    parser.add_argument("--side", type=int, default=320, help="side of the squares in pixels")
    parser.add_argument("sets", nargs="+", help="overrides of a data set, in one argument")
    options = parse(parser, arguments)
    sets = {each: instantiate(config.compose(*shlex.split(each)).data) for each in options.sets}
    for data in sets.values():
        data.prepare()
    print_header("data set", "squares", *COLUMNS)
    for description, data in sets.items():
        pairs = data.items("train") or data.items("test")
        selected = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, options.images).astype(int))]
        values = np.array([measure(*square) for pair in selected for square in squares(pair, options.side)])
        quartiles = np.percentile(values, [50, 25, 75], axis=0).T
        cells = [f"{m:.2f} ({low:.2f}, {high:.2f})" for m, low, high in quartiles]
        print_row(description.split()[0], str(len(values)), *cells)


def squares(pair: Pair, side: int) -> Iterator[tuple[Grey, Grey]]:
    """Yield non-overlapping blurred and sharp squares, `(side, side, 3)` in [0, 1]."""
    images = [read_image(path).astype(np.float64) / 255 for path in (pair.blurred, pair.sharp)]
    height, width, _ = images[0].shape
    for y in range(0, height - side + 1, side):
        for x in range(0, width - side + 1, side):
            blurred, sharp = (image[y : y + side, x : x + side] for image in images)
            yield blurred, sharp


def measure(blurred: Grey, sharp: Grey) -> tuple[float, ...]:
    """Return the statistics of a square, in the order of `COLUMNS`."""
    grey, blurred_grey = sharp.mean(axis=-1), blurred.mean(axis=-1)
    differences, blurred_differences = _differences(grey), _differences(blurred_grey)
    return (
        slope(grey),
        float(((differences - differences.mean()) ** 4).mean() / differences.var() ** 2 - 3),
        float(grey.std()),
        float(-10 * np.log10(max(1e-10, ((blurred - sharp) ** 2).mean()))),
        float(blurred_differences.var() / differences.var()),
    )


def slope(grey: Grey) -> float:
    """Return the slope of log power against log frequency between 0.02 and 0.33 cycles per pixel."""
    window = np.outer(np.hanning(grey.shape[0]), np.hanning(grey.shape[1]))
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(grey.shape[0])[:, None], np.fft.rfftfreq(grey.shape[1]))
    bands = np.geomspace(0.02, 0.33, 16)
    centres = np.sqrt(bands[1:] * bands[:-1])
    means = [power[(low <= frequency) & (frequency < high)].mean() for low, high in itertools.pairwise(bands)]
    return float(np.polyfit(np.log(centres), np.log(means), 1)[0])


def _differences(grey: Grey) -> Grey:
    return np.concatenate([np.diff(grey, axis=0).ravel(), np.diff(grey, axis=1).ravel()])


if __name__ == "__main__":
    main()
