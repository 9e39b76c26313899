"""One pair from one seed: `Synthesis` holds the ranges, `Recipe` says what was drawn from them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

from deblurlab.synthesis import sensor
from deblurlab.synthesis.exposure import SRGB_TO_LINEAR, Layer, Light, disc, expose, out_of_focus, still
from deblurlab.synthesis.motion import Path, drift, extent, psf, reach, shake
from deblurlab.synthesis.scenes import Image, blob, dead_leaves

Range = tuple[float, float]
_MOMENTS = 8, 32
BlurKey = Literal["blur", "blur_gamma"]
Ground = Callable[[np.random.Generator, int, int], Image]
"""Makes a picture, `(height, width, 3)` sRGB, from (random numbers, height, width)."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What was done to one pair; lies beside it as JSON."""

    blur_length: float
    """Distance of the two farthest points of the camera's path, in pixels."""
    rotation: float
    """Largest swing of the camera about its axis, in degrees."""
    objects: int
    """Layers in front of the background, which move by themselves unless nothing moves."""
    softness: float
    """Standard deviation of the Gaussian that the scene was seen through in both pictures, in pixels."""
    read_noise: float
    shot_noise: float
    jpeg_quality: int | None
    blur_key: BlurKey = "blur_gamma"
    """What was averaged."""
    defocus: float = 0.0
    """Radius of the disc that the blurred picture is out of focus by, in pixels."""
    psf: list[list[float]] | None = None
    """The background's kernel at the picture's centre, which is that of the whole picture if the camera doesn't turn
    and nothing moves by itself. Rows, summing to 1."""


class Scene(NamedTuple):
    """What is in front of the camera while it is exposed."""

    ground: Image
    """`(rows, columns, 3)` sRGB, larger than the frame by the same margin on all sides."""
    masks: list[Image]
    """`(rows, columns)` of each object, 0..255."""
    rolls: list[int]
    """An object has the colours of the ground turned upside down and rolled by so many columns."""
    paths: list[Path]
    """In the frame: of the ground, then of the objects."""
    recipe: Recipe

    def layers(self) -> list[Layer]:
        light = _light(self.ground)
        layers = [Layer(light, None, self.paths[0])]
        for mask, roll, path in zip(self.masks, self.rolls, self.paths[1:], strict=True):
            layers.append(Layer(np.ascontiguousarray(np.roll(light[::-1], roll, axis=1)), mask, path))
        return layers


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Ranges from which every pair is drawn, evenly: lengths in pixels, angles in degrees, noise as a share of full
    scale in linear light."""

    blur_length: Range = (0.0, 24.0)
    rotation: Range = (0.0, 1.0)
    objects: tuple[int, int] = (0, 3)
    object_length: Range = (0.0, 24.0)
    softness: Range = (0.0, 1.5)
    """Half of the scenes are as crisp as they are drawn."""
    read_noise: Range = (0.0, 0.0015)
    shot_noise: Range = (0.0, 0.01)
    jpeg_quality: tuple[int, int] | None = None
    """What is drawn above 100 isn't compressed."""
    still: float = 0.0
    """Share of the pairs in which nothing moves."""
    defocus: Range = (0.0, 0.0)
    """Radius of the disc of a third of the pairs, in the blurred picture alone."""
    blur_key: BlurKey | Literal["either"] = "blur_gamma"
    """What is averaged over the exposure: "blur_gamma" linear light, as a sensor does; "blur" sRGB codes, as whoever
    averages the frames of a video; "either", half of the pairs each. GoPro's two kinds of blur."""

    def __post_init__(self) -> None:
        if self.blur_key not in (*get_args(BlurKey), "either"):
            raise ValueError(f"blur_key is {self.blur_key!r}: blur, blur_gamma or either")
        if not 0 <= self.still <= 1:
            raise ValueError(f"still is {self.still}: a share, 0 to 1")
        quality = self.jpeg_quality
        if quality is not None and not (len(quality) == 2 and 1 <= quality[0] <= quality[1]):
            raise ValueError(f"jpeg_quality is {self.jpeg_quality}: two numbers from 1 on, the lower one first")

    def scene_pair(
        self, rng: np.random.Generator, height: int, width: int, *, ground: Ground = dead_leaves
    ) -> tuple[Image, Image, Recipe]:
        """A made scene, blurred and sharp, both `(height, width, 3)` sRGB. `ground` makes what everything lies on."""
        scene = self.scene(rng, height, width, ground=ground)
        photographs = self._photograph(rng, scene.layers(), height, width, scene.recipe)
        return (*photographs, _with_psf(scene.recipe, scene.paths[0]))

    def scene(
        self, rng: np.random.Generator, height: int, width: int, *, ground: Ground = dead_leaves, even: bool = False
    ) -> Scene:
        """What a pair of that size is made of. `even` scenes have all the same margin and number of moments."""
        recipe, paths = self._draw(rng, height, width, even=even)
        margin = self._margin(height, width) if even else reach(paths, height, width)
        rows, columns = height + 2 * margin, width + 2 * margin
        backdrop = _seen_through(ground(rng, rows, columns), recipe.softness)
        objects = [(int(rng.integers(columns)), blob(rng, rows, columns)) for _ in paths[1:]]
        return Scene(backdrop, [mask for _, mask in objects], [roll for roll, _ in objects], paths, recipe)

    def photo_pair(self, rng: np.random.Generator, photo: Image) -> tuple[Image, Image, Recipe]:
        """A photograph, `(H, W, 3)` sRGB, shaken as a whole: the pair is smaller by the margin that the longest blur
        needs.

        Raises:
            ValueError: Nothing is left of the photograph.
        """
        margin = self._margin(*photo.shape[:2])
        height, width = photo.shape[0] - 2 * margin, photo.shape[1] - 2 * margin
        if min(height, width) < 1:
            raise ValueError(
                f"a photograph of {photo.shape[1]}x{photo.shape[0]} has no room for the blur's margin, {margin}"
            )
        recipe, paths = self._draw(rng, height, width)
        recipe = replace(recipe, objects=0, softness=0.0)
        layers = [Layer(_light(photo), None, paths[0])]
        return (*self._photograph(rng, layers, height, width, recipe), _with_psf(recipe, paths[0]))

    def _draw(
        self, rng: np.random.Generator, height: int, width: int, *, even: bool = False
    ) -> tuple[Recipe, list[Path]]:
        """What will be done, and the paths in the frame: of the background, then of the objects."""
        length, rotation = rng.uniform(*self.blur_length), rng.uniform(*self.rotation)
        objects = int(rng.integers(self.objects[0], self.objects[1] + 1))
        own = [(rng.uniform(*self.object_length), np.deg2rad(rng.uniform(*self.rotation))) for _ in range(objects)]
        longest = length + max([way for way, _ in own], default=0.0) + np.deg2rad(rotation) * max(height, width)
        # One moment per pixel of the longest way, within reason.
        moments = _MOMENTS[1] if even else int(np.clip(np.ceil(longest), *_MOMENTS))
        path = shake(rng, moments, length=length, rotation=np.deg2rad(rotation))
        paths = [path, *(path + drift(rng, moments, length=way, rotation=turn) for way, turn in own)]
        recipe = Recipe(
            blur_length=extent(path),
            rotation=rotation,
            objects=objects,
            softness=self.softness[0] + max(0.0, rng.uniform(-1, 1)) * (self.softness[1] - self.softness[0]),
            read_noise=rng.uniform(*self.read_noise),
            shot_noise=rng.uniform(*self.shot_noise),
            jpeg_quality=self._quality(rng),
            blur_key="blur_gamma" if self.blur_key == "either" else self.blur_key,
        )
        # Drawn last, and only if asked for, so that other pairs are what they were before there was any.
        if self.defocus[1] > 0 and rng.random() < 1 / 3:
            recipe = replace(recipe, defocus=rng.uniform(*self.defocus))
        if self.blur_key == "either" and rng.random() < 0.5:
            recipe = replace(recipe, blur_key="blur")
        if self.still > 0 and rng.random() < self.still:
            recipe = replace(recipe, blur_length=0.0, rotation=0.0, defocus=0.0)
            paths = [np.zeros_like(path) for path in paths]
        return recipe, paths

    def _quality(self, rng: np.random.Generator) -> int | None:
        if self.jpeg_quality is None:
            return None
        quality = int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1))
        return quality if quality <= 100 else None

    def needed(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the ground of a pair of that size."""
        margin = self._margin(height, width)
        return height + 2 * margin, width + 2 * margin

    def side(self, needed: int) -> int:
        """The side of a square frame whose ground has this side."""
        return next(side for side in range(needed, 0, -1) if self.needed(side, side)[0] == needed)

    def _margin(self, height: int, width: int) -> int:
        longest = self.blur_length[1] + (self.object_length[1] if self.objects[1] else 0)
        return int(np.ceil(longest + np.deg2rad(self.rotation[1]) * max(height, width))) + 1

    def _photograph(
        self, rng: np.random.Generator, layers: list[Layer], height: int, width: int, recipe: Recipe
    ) -> tuple[Image, Image]:
        light = expose(layers, height, width, as_codes=recipe.blur_key == "blur")
        light = out_of_focus(light, recipe.defocus)
        light = sensor.add_noise(rng, light, read=recipe.read_noise, shot=recipe.shot_noise)
        blurred = sensor.develop(light)
        if recipe.jpeg_quality is not None:
            blurred = sensor.jpeg(blurred, recipe.jpeg_quality)
        return blurred, sensor.develop(still(layers, height, width))


def _with_psf(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with its kernel."""
    side = 2 * int(np.ceil(np.abs(path[:, :2]).max())) + 3
    kernel = psf(path * [1, 1, 0], side)
    if recipe.defocus:
        around = int(np.ceil(recipe.defocus))
        spread = disc(recipe.defocus) / disc(recipe.defocus).sum()
        wide = np.pad(kernel, around)
        kernel = np.asarray(cv2.filter2D(wide, -1, spread, borderType=cv2.BORDER_CONSTANT), np.float64)
    return replace(recipe, psf=kernel.tolist())


def _light(image: Image) -> Light:
    return SRGB_TO_LINEAR.astype(np.float32)[image]


def _seen_through(image: Image, softness: float) -> Image:
    return image if softness < 0.2 else np.asarray(cv2.GaussianBlur(image, (0, 0), softness), np.uint8)
