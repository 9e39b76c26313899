"""Difference between tiled and whole restoration for every model.

    python benchmarks/tiling.py [MODEL ...]

Prints for each model of conf/model the receptive radius and the difference, in levels of 255, between restoring a
512x384 image in tiles of 256 pixels, blended over 64 pixels on each side, and restoring it whole. Target: no difference
for models whose receptive radius is at most the overlap. Takes minutes.

The models have their default size and random weights. Weights that are initialised to zero are drawn from a normal
distribution wide enough to change the image, and the output is shifted to the mean of the input, so that it is not
black.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from common import argument_parser, parse, print_header, print_row
from deblurlab import config
from deblurlab.inference.engines import MAX_RADIUS, Torch
from deblurlab.inference.tiling import Tiling, choose_tiling, restore_rows
from deblurlab.media.pixels import InMemory
from deblurlab.models import Model
from inference import as_tensor, blurred_image
from models import build

MIN_CHANGE = 4
"""Minimum standard deviation, in levels of 255, of the change that a network makes to the image."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argument_parser(__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="models to measure; all by default")
    options = parse(parser, arguments)
    print_differences(options.models or config.options("model"))


def print_differences(names: Iterable[str]) -> None:
    """Print the difference between tiled and whole restoration for the given models."""
    image = as_tensor(blurred_image(384, 512))
    pixels = image[0].permute(1, 2, 0).contiguous().numpy()
    radius_title = f"receptive radius (up to {MAX_RADIUS})"
    print_header("model", radius_title, "mean difference", "maximum difference", "mean change of the image")
    for name in names:
        torch.manual_seed(0)
        engine = ShiftedTorch(randomise_zeros(build(name), image[..., :128, :128]), torch.device("cpu"))
        engine.shift = image.mean((2, 3), keepdim=True) - engine(image).mean((2, 3), keepdim=True)
        tiling = choose_tiling(engine, *image.shape[-2:], tile=256, overlap=64)
        whole, tiled = (
            np.concatenate([restored for _, restored in restore_rows(engine, InMemory(pixels), each)])
            for each in (Tiling(0, 0, True), tiling)
        )
        difference, change = 255 * np.abs(tiled - whole), 255 * np.abs(whole - pixels).mean()
        radius = engine.receptive_radius
        radius_text = "not local" if radius is None else f"{radius}{', exact' * tiling.exact}"
        values = difference.mean(), difference.max(), change
        print_row(f"`{name}`", radius_text, *(f"{value:.2g}" for value in values))


class ShiftedTorch(Torch):
    """Engine that adds the constant `shift` to the restored images."""

    shift: Tensor | float = 0.0

    def __call__(self, blurred: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)` and add `shift`."""
        return super().__call__(blurred) + self.shift


def randomise_zeros(network: Model, image: Tensor) -> Model:
    """Draw weights that are zero from a normal distribution, wide enough to change the image visibly."""
    generator = torch.Generator().manual_seed(0)
    zeros = [weight for weight in network.parameters() if weight.ndim > 1 and not weight.any()]
    with torch.no_grad():
        for weight in zeros:
            weight.normal_(0, 0.1, generator=generator)
        while zeros and (network(image) - image).std((2, 3)).mean() < MIN_CHANGE / 255:
            torch._foreach_mul_(zeros, 2)
    return network


if __name__ == "__main__":
    main()
