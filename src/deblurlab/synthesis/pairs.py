"""Synthesis of one blurred and sharp pair from a random generator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import cv2
import numpy as np

from deblurlab.synthesis import sensor
from deblurlab.synthesis.exposure import (
    MAX_HIGHLIGHTS,
    Layer,
    blur_defocus,
    decode_srgb,
    expose,
    expose_static,
)
from deblurlab.synthesis.motion import (
    Trajectory,
    camera_trajectory,
    extent,
    object_trajectory,
    required_margin,
)
from deblurlab.synthesis.parameters import BlurKey, SynthesisParameters, add_psf
from deblurlab.synthesis.scenes import Image, dead_leaves, draw_object_mask

Range = tuple[float, float]
_MIN_STEPS, _MAX_STEPS = 8, 32
ImageSource = Callable[[np.random.Generator, int, int], Image]
"""Function of (random generator, height, width) that returns a sharp image, `(height, width, 3)` sRGB."""


class Scene(NamedTuple):
    """Random scene in front of the camera during one exposure."""

    background: Image
    """`(rows, columns, 3)` sRGB, larger than the frame by the same margin on all sides."""
    masks: list[Image]
    """`(rows, columns)` opacity of each object, 0..255."""
    rolls: list[int]
    """Horizontal shift in pixels of each object's texture, the vertically flipped background."""
    trajectories: list[Trajectory]
    """Trajectories in the frame: of the background, then of the objects."""
    parameters: SynthesisParameters

    def layers(self) -> list[Layer]:
        """Return the layers back to front."""
        light = decode_srgb(self.background, self.parameters.highlights)
        layers = [Layer(light, None, self.trajectories[0])]
        for mask, roll, trajectory in zip(self.masks, self.rolls, self.trajectories[1:], strict=True):
            layers.append(Layer(np.ascontiguousarray(np.roll(light[::-1], roll, axis=1)), mask, trajectory))
        return layers


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """Ranges of uniform distributions from which the parameters of every pair are drawn.

    Lengths are in pixels, angles in degrees, noise levels are fractions of full scale in linear light.

    Raises:
        ValueError: `blur_key` is unknown, `still` or `uniform` isn't in [0, 1], `highlights` isn't within [0, 3], or
            `jpeg_quality` isn't a range.
    """

    blur_length: Range = (0.0, 24.0)
    rotation: Range = (0.0, 1.0)
    objects: tuple[int, int] = (0, 3)
    object_length: Range = (0.0, 24.0)
    softness: Range = (0.0, 1.5)
    """Standard deviation of the Gaussian blur of a scene; half of the scenes have the lower bound."""
    read_noise: Range = (0.0, 0.0015)
    shot_noise: Range = (0.0, 0.01)
    jpeg_quality: tuple[int, int] | None = None
    """A quality above 100 means no compression."""
    still: float = 0.0
    """Fraction of the pairs without any motion."""
    defocus: Range = (0.0, 0.0)
    """Radius of the defocus disc, in the blurred image alone, of a third of the pairs."""
    uniform: float = 0.0
    """Fraction of the pairs with one psf for the whole image: no objects and no rotation."""
    highlights: Range = (0.0, 0.0)
    """Additional light of highlights before the exposure, at most 3 times their own; half of the scenes have the lower
    bound. Highlights are areas whose brightest channel is above 230 of 255; they are lighter in the sharp image too.
    When blurred they stay saturated, as lamps and reflections in photographs."""
    blur_key: BlurKey | Literal["either"] = "blur_gamma"
    """Values that are averaged over the exposure: "blur_gamma" linear light, as in a sensor; "blur" sRGB code values,
    as in averaged video frames; "either" one of them with a probability of 1/2. The names are those of GoPro."""

    def __post_init__(self) -> None:
        if self.blur_key not in (*get_args(BlurKey), "either"):
            raise ValueError(f"blur_key is {self.blur_key!r}: blur, blur_gamma or either")
        for name in ("still", "uniform"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: a fraction in [0, 1]")
        if len(self.highlights) != 2 or not 0 <= self.highlights[0] <= self.highlights[1] <= MAX_HIGHLIGHTS:
            raise ValueError(f"highlights is {self.highlights}: a range within [0, {MAX_HIGHLIGHTS}]")
        quality = self.jpeg_quality
        if quality is not None and not (len(quality) == 2 and 1 <= quality[0] <= quality[1]):
            raise ValueError(f"jpeg_quality is {self.jpeg_quality}: two numbers from 1 on, the lower one first")

    def scene_pair(
        self, rng: np.random.Generator, height: int, width: int, *, source: ImageSource = dead_leaves
    ) -> tuple[Image, Image, SynthesisParameters]:
        """Draw a scene and return its blurred and sharp image, `(height, width, 3)` sRGB, and the parameters.

        Args:
            rng: Random generator.
            height: Of the images, in pixels.
            width: Of the images, in pixels.
            source: Returns the background.
        """
        scene = self.draw_scene(rng, height, width, source=source)
        pair = self._render(rng, scene.layers(), height, width, scene.parameters)
        return (*pair, add_psf(scene.parameters, scene.trajectories[0]))

    def draw_scene(
        self,
        rng: np.random.Generator,
        height: int,
        width: int,
        *,
        source: ImageSource = dead_leaves,
        batchable: bool = False,
    ) -> Scene:
        """Draw the scene of a pair; batchable scenes have equal margins and numbers of time steps."""
        parameters, trajectories = self._draw_parameters(rng, height, width, batchable=batchable)
        margin = self._max_margin(height, width) if batchable else required_margin(trajectories, height, width)
        rows, columns = height + 2 * margin, width + 2 * margin
        background = _soften(source(rng, rows, columns), parameters.softness)
        objects = [(int(rng.integers(columns)), draw_object_mask(rng, rows, columns)) for _ in trajectories[1:]]
        return Scene(background, [mask for _, mask in objects], [roll for roll, _ in objects], trajectories, parameters)

    def photo_pair(self, rng: np.random.Generator, photo: Image) -> tuple[Image, Image, SynthesisParameters]:
        """Blur a photograph, `(H, W, 3)` sRGB, by camera shake alone.

        The returned images are smaller than the photograph by the margin that the maximum blur needs.

        Raises:
            ValueError: The photograph is smaller than the margin.
        """
        margin = self._max_margin(*photo.shape[:2])
        height, width = photo.shape[0] - 2 * margin, photo.shape[1] - 2 * margin
        if min(height, width) < 1:
            raise ValueError(
                f"a photograph of {photo.shape[1]}x{photo.shape[0]} is too small: the blur needs a margin of {margin} "
                f"pixels on each side"
            )
        parameters, trajectories = self._draw_parameters(rng, height, width)
        parameters = replace(parameters, objects=0, softness=0.0)
        layers = [Layer(decode_srgb(photo, parameters.highlights), None, trajectories[0])]
        pair = self._render(rng, layers, height, width, parameters)
        return (*pair, add_psf(parameters, trajectories[0]))

    def _draw_parameters(
        self, rng: np.random.Generator, height: int, width: int, *, batchable: bool = False
    ) -> tuple[SynthesisParameters, list[Trajectory]]:
        """Draw the parameters and the trajectories in the frame: of the background, then of the objects."""
        length, rotation = rng.uniform(*self.blur_length), rng.uniform(*self.rotation)
        objects = int(rng.integers(self.objects[0], self.objects[1] + 1))
        own = [(rng.uniform(*self.object_length), np.deg2rad(rng.uniform(*self.rotation))) for _ in range(objects)]
        max_distance = length + max([distance for distance, _ in own], default=0.0)
        max_distance += np.deg2rad(rotation) * max(height, width)
        # About one time step per pixel of the maximum distance.
        steps = _MAX_STEPS if batchable else int(np.clip(np.ceil(max_distance), _MIN_STEPS, _MAX_STEPS))
        camera = camera_trajectory(rng, steps, length=length, rotation=np.deg2rad(rotation))
        trajectories = [
            camera,
            *(camera + object_trajectory(rng, steps, length=distance, rotation=angle) for distance, angle in own),
        ]
        parameters = SynthesisParameters(
            blur_length=extent(camera),
            rotation=rotation,
            objects=objects,
            softness=self.softness[0] + max(0.0, rng.uniform(-1, 1)) * (self.softness[1] - self.softness[0]),
            read_noise=rng.uniform(*self.read_noise),
            shot_noise=rng.uniform(*self.shot_noise),
            jpeg_quality=self._draw_quality(rng),
            blur_key="blur_gamma" if self.blur_key == "either" else self.blur_key,
        )
        # Drawn last and only if enabled, so that enabling them leaves all other parameters of a seed unchanged.
        if self.defocus[1] > 0 and rng.random() < 1 / 3:
            parameters = replace(parameters, defocus=rng.uniform(*self.defocus))
        if self.blur_key == "either" and rng.random() < 0.5:
            parameters = replace(parameters, blur_key="blur")
        if self.still > 0 and rng.random() < self.still:
            parameters = replace(parameters, blur_length=0.0, rotation=0.0, defocus=0.0)
            trajectories = [np.zeros_like(trajectory) for trajectory in trajectories]
        if self.uniform > 0 and rng.random() < self.uniform:
            parameters = replace(parameters, rotation=0.0, objects=0)
            trajectories = [trajectories[0] * [1, 1, 0]]
        if self.highlights[1] > 0:
            low, high = self.highlights
            parameters = replace(parameters, highlights=low + max(0.0, rng.uniform(-1, 1)) * (high - low))
        return parameters, trajectories

    def _draw_quality(self, rng: np.random.Generator) -> int | None:
        if self.jpeg_quality is None:
            return None
        quality = int(rng.integers(self.jpeg_quality[0], self.jpeg_quality[1] + 1))
        return quality if quality <= 100 else None

    def background_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the background of a batchable scene for a frame of this size."""
        margin = self._max_margin(height, width)
        return height + 2 * margin, width + 2 * margin

    def frame_side(self, background_side: int) -> int:
        """Return the side of the square frame whose background has this side."""
        sides = range(background_side, 0, -1)
        return next(side for side in sides if self.background_size(side, side)[0] == background_side)

    def _max_margin(self, height: int, width: int) -> int:
        max_distance = self.blur_length[1] + (self.object_length[1] if self.objects[1] else 0)
        return int(np.ceil(max_distance + np.deg2rad(self.rotation[1]) * max(height, width))) + 1

    def _render(
        self,
        rng: np.random.Generator,
        layers: list[Layer],
        height: int,
        width: int,
        parameters: SynthesisParameters,
    ) -> tuple[Image, Image]:
        """Return the blurred and the sharp image."""
        light = expose(layers, height, width, average_srgb=parameters.blur_key == "blur")
        light = blur_defocus(light, parameters.defocus)
        light = sensor.add_noise(rng, light, read=parameters.read_noise, shot=parameters.shot_noise)
        blurred = sensor.encode_srgb(light)
        if parameters.jpeg_quality is not None:
            blurred = sensor.compress_jpeg(blurred, parameters.jpeg_quality)
        return blurred, sensor.encode_srgb(expose_static(layers, height, width))


def _soften(image: Image, sigma: float) -> Image:
    return image if sigma < 0.2 else np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
