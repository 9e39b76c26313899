"""Sources of the blur kernel (psf) that a classical restorer uses."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from deblurlab.classical.blind import estimate_psf
from deblurlab.classical.estimation import estimate_motion, line_psf
from deblurlab.classical.frequency import Array, validate_psf
from deblurlab.datasets.listing import Item, image_file
from deblurlab.errors import UserError
from deblurlab.media.images import FORMATS
from deblurlab.runs.untrusted import parse_json

_MAX_SIDE = 4096
"""Maximum side of a psf file in pixels."""


class FoundPsf(NamedTuple):
    """A psf and its description."""

    psf: Array | None
    """`(k, k)`, sums to 1; None if the restorer needs none."""
    description: str


class Psf:
    """Base class of psf sources."""

    def __call__(self, image: Array, pair: Item) -> FoundPsf:
        """Return the psf of an image.

        Args:
            image: `(H, W, 3)` in [0, 1], in the restorer's values: linear light or sRGB.
            pair: The pair that the image belongs to.

        Raises:
            EstimationError: The psf can't be estimated from the image.
            UserError: The psf isn't available.
        """
        raise NotImplementedError


class NoPsf(Psf):
    """No psf."""

    def __call__(self, image: Array, pair: Item) -> FoundPsf:
        """Return no psf."""
        return FoundPsf(None, "none")


class Oracle(Psf):
    """True psf of synthetic data, from the pair's recipe.

    It is the psf of the background at the image's centre, and exact everywhere if the blur has no rotation and no
    moving objects.
    """

    def __call__(self, image: Array, pair: Item) -> FoundPsf:
        """Return the psf in the pair's recipe."""
        recipe = read_recipe(pair)
        if recipe.get("psf") is None:
            raise UserError(
                f"{pair.blurred} has no recipe with a true psf: psf=oracle needs synthetic data, choose psf=estimate"
            )
        uniform = not recipe["rotation"] and not recipe["objects"]
        return FoundPsf(np.array(recipe["psf"]), "true" if uniform else "true at the centre")


class Estimate(Psf):
    """Psf of linear motion, estimated from the blurred image (see `deblurlab.classical.estimate_motion`).

    Args:
        longest: Maximum length of the motion in pixels, 4 to 60.
    """

    def __init__(self, *, longest: float = 40.0) -> None:
        if not isinstance(longest, int | float) or not 4 <= longest <= 60:
            raise UserError(f"psf.longest={longest} must be between 4 and 60 pixels")
        self._longest = longest

    def __call__(self, image: Array, pair: Item) -> FoundPsf:
        """Return the psf of the estimated motion."""
        found = estimate_motion(image, max_length=self._longest)
        description = f"line of {found.length:.1f} px at {found.angle:.0f} degrees"
        return FoundPsf(line_psf(found.length, found.angle), description)


class EstimateUniform(Psf):
    """Psf of any shape, estimated from the blurred image (see `deblurlab.classical.estimate_psf`).

    Args:
        longest: Maximum extent of the psf in pixels, approximately, 5 to 60.
    """

    def __init__(self, *, longest: int = 31) -> None:
        if not isinstance(longest, int | float) or not 5 <= longest <= 60:
            raise UserError(f"psf.longest={longest} must be between 5 and 60 pixels")
        self._longest = longest

    def __call__(self, image: Array, pair: Item) -> FoundPsf:
        """Return the estimated psf."""
        found = estimate_psf(image, longest=self._longest)
        side = found.psf.shape[0]
        return FoundPsf(found.psf, f"estimated, {side}x{side} px, correlation {found.correlation:.2f}")


class Gaussian(Psf):
    """Gaussian psf.

    Args:
        sigma: Standard deviation in pixels.
    """

    def __init__(self, *, sigma: float) -> None:
        if not 0 < sigma < 1000:
            raise UserError(f"psf.sigma={sigma} must be more than 0 and less than 1000")
        x = np.arange(-int(np.ceil(4 * sigma)), int(np.ceil(4 * sigma)) + 1)
        profile = np.exp(-(x**2) / (2 * sigma**2))
        psf = np.outer(profile, profile)
        self._found = FoundPsf(psf / psf.sum(), f"Gaussian of sigma {sigma:g}")

    def __call__(self, image: Array, pair: Item) -> FoundPsf:
        """Return the Gaussian."""
        return self._found


class File(Psf):
    """Psf from a file: an array (.npy) that sums to 1, or an image, which is normalised.

    Raises:
        UserError: The file can't be read.
    """

    def __init__(self, *, path: str) -> None:
        try:
            psf = _read_psf(Path(path))
            validate_psf(psf, psf)
        except (OSError, ValueError, OverflowError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"psf.path={path} can't be read as a psf: {error}") from error
        self._found = FoundPsf(psf, Path(path).name)

    def __call__(self, image: Array, pair: Item) -> FoundPsf:
        """Return the psf in the file."""
        return self._found


def read_recipe(pair: Item) -> dict[str, Any]:
    """Return the parameters that a synthetic pair was generated with; empty for other pairs.

    Raises:
        ValueError: The recipe is damaged.
    """
    blurred = image_file(pair.blurred)
    if blurred is None or not (file := blurred.parent.parent / "recipe" / f"{blurred.stem}.json").is_file():
        return {}
    try:
        recipe = parse_json(file.read_text())
        if not isinstance(recipe, dict):
            raise ValueError("it isn't a JSON object")
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    return recipe


def _read_psf(path: Path) -> Array:
    if path.suffix == ".npy":
        mapped = np.lib.format.open_memmap(path, mode="r")  # refuses pickles, and memory is bounded by the file's size
        _check_shape(mapped.shape)
        return np.array(mapped, np.float64)
    with Image.open(path, formats=FORMATS) as image:
        _check_shape(image.size)
        psf = np.asarray(image.convert("F"), np.float64)
    return psf / max(psf.sum(), 1e-12)


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or max(shape) > _MAX_SIDE:
        raise ValueError(f"a psf is a matrix of at most {_MAX_SIDE} x {_MAX_SIDE} numbers, not of shape {shape}")
