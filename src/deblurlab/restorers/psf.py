"""Where a blur kernel comes from."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from deblurlab.classical.estimation import estimate_motion, line_psf
from deblurlab.classical.frequency import Array, validate_psf
from deblurlab.datasets.listing import Pair
from deblurlab.errors import UserError
from deblurlab.media.images import FORMATS
from deblurlab.runs.untrusted import parse_json

_LARGEST = 4096
"""Pixels of a side of a kernel in a file."""


class Kernel(NamedTuple):
    """A kernel and what to say of it."""

    psf: Array | None
    """`(k, k)`, summing to 1."""
    said: str


class Psf:
    """Finds the kernel of an image."""

    def __call__(self, image: Array, pair: Pair) -> Kernel:
        """`image` `(H, W, 3)` in [0, 1], in what the restorer works in.

        Raises:
            EstimationError: It isn't to be found.
            UserError: It isn't there.
        """
        raise NotImplementedError


class NoPsf(Psf):
    """None."""

    def __call__(self, image: Array, pair: Pair) -> Kernel:
        return Kernel(None, "none")


class Oracle(Psf):
    """The true kernel, out of the pair's recipe: that of the background at the picture's centre, which is that of the
    whole picture if nothing turned or moved by itself.
    """

    def __call__(self, image: Array, pair: Pair) -> Kernel:
        recipe = read_recipe(pair)
        if recipe.get("psf") is None:
            raise UserError(
                f"{pair.blurred} has no recipe with a true kernel: psf=oracle is for made data, psf=estimate for others"
            )
        uniform = not recipe["rotation"] and not recipe["objects"]
        return Kernel(np.array(recipe["psf"]), "true" if uniform else "true at the centre")


class Estimate(Psf):
    """Straight motion, estimated from the image alone (see `deblurlab.classical.estimate_motion`)."""

    def __init__(self, *, longest: float = 40.0) -> None:
        if not 4 <= longest <= 60:
            raise UserError(f"psf.longest={longest} must be between 4 and 60 pixels")
        self._longest = longest

    def __call__(self, image: Array, pair: Pair) -> Kernel:
        found = estimate_motion(image, max_length=self._longest)
        return Kernel(line_psf(found.length, found.angle), f"line of {found.length:.1f} px at {found.angle:.0f} degrees")


class Gaussian(Psf):
    """A Gaussian of a given standard deviation, in pixels."""

    def __init__(self, *, sigma: float) -> None:
        if not 0 < sigma < 1000:
            raise UserError(f"psf.sigma={sigma} must be more than 0")
        x = np.arange(-int(np.ceil(4 * sigma)), int(np.ceil(4 * sigma)) + 1)
        profile = np.exp(-(x**2) / (2 * sigma**2))
        kernel = np.outer(profile, profile)
        self._kernel = Kernel(kernel / kernel.sum(), f"Gaussian of sigma {sigma:g}")

    def __call__(self, image: Array, pair: Pair) -> Kernel:
        return self._kernel


class File(Psf):
    """A kernel in a file: an array (.npy) that sums to 1, or an image, whose brightness is made to.

    Raises:
        UserError: It can't be read.
    """

    def __init__(self, *, path: str) -> None:
        try:
            kernel = _read(Path(path))
            validate_psf(kernel, kernel)
        except (OSError, ValueError, OverflowError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"psf.path={path} can't be read as a kernel: {error}") from error
        self._kernel = Kernel(kernel, Path(path).name)

    def __call__(self, image: Array, pair: Pair) -> Kernel:
        return self._kernel


def _read(path: Path) -> Array:
    if path.suffix == ".npy":
        mapped = np.lib.format.open_memmap(path, mode="r")  # reads no objects, and no more than there is
        _check_size(mapped.shape)
        return np.array(mapped, np.float64)
    with Image.open(path, formats=FORMATS) as image:
        _check_size(image.size)
        kernel = np.asarray(image.convert("F"), np.float64)
    return kernel / max(kernel.sum(), 1e-12)


def _check_size(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or max(shape) > _LARGEST:
        raise ValueError(f"a kernel is a matrix of at most {_LARGEST} x {_LARGEST} numbers, not of shape {shape}")


def read_recipe(pair: Pair) -> dict[str, Any]:
    """What was done to a made pair; empty for others.

    Raises:
        ValueError: The recipe is damaged.
    """
    file = pair.blurred.parent.parent / "recipe" / f"{pair.blurred.stem}.json"
    if not file.is_file():
        return {}
    try:
        recipe = parse_json(file.read_text())
        if not isinstance(recipe, dict):
            raise ValueError("it is no recipe")
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    return recipe
