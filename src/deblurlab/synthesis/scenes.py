"""Dead leaves images: occluding shapes whose sizes follow a power law.

Edges and scale invariance of natural images result from occlusion. A random collage of shapes whose radii have the
density r^-3 has the same statistics (Lee, Mumford and Huang, "Occlusion Models for Natural Images", IJCV 2001).
Networks trained on such images restore photographs nearly as well as networks trained on photographs (Achddou, Gousseau
and Ladjal, "Synthetic Images as a Regularity Prior for Image Restoration Neural Networks", SSVM 2021).
"""

import string
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from deblurlab.synthesis import textures
from deblurlab.synthesis.textures import fractal_noise, stripes

Image = npt.NDArray[np.uint8]
"""`(H, W, 3)` sRGB, 0..255."""

_VERTICES = 20
_LARGE = 40
"""Number of large leaves that are painted first, so that they cover the whole image."""


def dead_leaves(rng: np.random.Generator, height: int, width: int, *, leaves: int = 900, texture: float = 0.0) -> Image:
    """Draw an image of textured, shaded shapes and up to two short texts.

    Shapes are drawn at twice the size and downsampled by averaging, so edges are antialiased.

    Args:
        rng: Random generator.
        height: Pixels.
        width: Pixels.
        leaves: Maximum number of shapes.
        texture: Mean fraction of leaves with fine texture, 0..1; the fraction of an image is uniform in 0..2 * texture.
            If it isn't 0, the number of leaves is between 1/20 of `leaves` and `leaves`, so that some images have large
            uniform areas, and two thirds of the images have locally blurred edges.
    """
    if texture:
        leaves = min(leaves, max(_LARGE, int(leaves * 20 ** -rng.random())))
    smallest, largest = 3.0, 0.35 * min(2 * height, 2 * width)
    u = rng.random(leaves)
    radii = (u * (largest**-2 - smallest**-2) + smallest**-2) ** -0.5  # density r^-3
    radii[:_LARGE] = largest * rng.uniform(0.5, 1.0, min(_LARGE, leaves))
    centres = rng.uniform((0, 0), (2 * width, 2 * height), (leaves, 2))
    ids = np.zeros((2 * height, 2 * width), np.uint16)
    below = np.zeros(leaves + 1, np.uint16)
    centre_pixels = centres.astype(int)
    for i, polygon in enumerate(_draw_outlines(rng, radii, centres), start=1):
        below[i] = ids[centre_pixels[i - 1, 1], centre_pixels[i - 1, 0]]
        cv2.fillPoly(ids, [polygon], i)
    colours = _draw_colours(rng, below, np.concatenate([[1.0], radii / largest]))
    image = _paint(ids, colours)
    for _ in range(int(rng.integers(0, 3))):
        _draw_text(rng, image)

    ids = np.ascontiguousarray(ids[::2, ::2])
    local_blur = _draw_local_blur(rng, height, width) if texture else None
    if local_blur is not None:
        image = local_blur(image)
    detail = np.zeros((height, width), np.int32)
    for field, max_strength, exponent in (
        (fractal_noise(rng, height, width, finest=1), 90.0, 1.5),
        (fractal_noise(rng, height, width, finest=8), 90.0, 1.5),
        (stripes(rng, height, width), 60.0, 30),
    ):
        # Powers of uniform numbers: most leaves are nearly smooth, few are strongly textured, as in photographs.
        strength = (max_strength * rng.random(leaves + 1) ** exponent).astype(np.int32)
        detail += strength[ids] * field
    if texture:
        detail += _draw_fine_texture(rng, ids, leaves + 1, min(1.0, 2 * texture * rng.random()), local_blur)
    shading = 256 + fractal_noise(rng, height, width, finest=max(1, max(height, width) // 4)) // 2
    shaded = (image.astype(np.int32) + (detail >> 7)[..., None]) * shading[..., None]
    return np.clip(shaded >> 8, 0, 255).astype(np.uint8)


def _paint(ids: npt.NDArray[np.uint16], colours: Image) -> Image:
    """Return the colours `(count, 3)` of the leaves in `ids`, averaged over 2x2 pixels."""
    packed = np.zeros((len(colours), 4), np.uint8)
    packed[:, :3] = colours  # packed into 4 bytes, so that one lookup per pixel suffices
    fine = packed.view(np.uint32)[:, 0].take(ids).view(np.uint8).reshape(*ids.shape, 4)
    half = cv2.resize(fine, (ids.shape[1] // 2, ids.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(half[..., :3], np.uint8)


LocalBlur = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]
"""Function that blurs some areas of an image `(height, width)` or `(height, width, C)`."""


def _draw_local_blur(rng: np.random.Generator, height: int, width: int) -> LocalBlur | None:
    """Draw a Gaussian blur with a random opacity map; None with a probability of 1/3."""
    if rng.random() < 1 / 3:
        return None
    sigma = 10 ** rng.random()
    noise = fractal_noise(rng, height, width, finest=32) * 4 + int(rng.integers(-128, 384))
    opacity = np.clip(noise, 0, 255)

    def blur(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        blurred = cv2.GaussianBlur(image, (0, 0), sigma).astype(np.int32)
        alpha = opacity.reshape(*opacity.shape, *[1] * (image.ndim - 2))
        return (image + ((blurred - image) * alpha >> 8)).astype(np.uint8)

    return blur


def _draw_fine_texture(
    rng: np.random.Generator,
    ids: npt.NDArray[np.uint16],
    count: int,
    fraction: float,
    local_blur: LocalBlur | None,
) -> textures.Texture:
    """Draw the fine texture of the leaves, `(height, width)`, in units of 1/128 code value.

    A `fraction` of the leaves has one of three textures. Nearly half of the textures are blurred. `local_blur` blends
    the textures of adjacent leaves.
    """
    detail = np.zeros(ids.shape, np.int32)
    strength = 120 * rng.random(count) ** 1.5 * (rng.random(count) < fraction)
    kind = rng.integers(0, 3, count)
    for i, choice in enumerate(rng.choice(len(textures.TEXTURES), 3)):
        field, sigma = textures.TEXTURES[choice](rng, *ids.shape), 2 * max(0.0, rng.uniform(-1, 1))
        if sigma > 0.2:
            # OpenCV's blur of uint8 images is bit-identical on every processor.
            codes = np.clip(field + 128, 0, 255).astype(np.uint8)
            field = cv2.GaussianBlur(codes, (0, 0), sigma).astype(np.int32) - 128
        weight = np.rint(strength * (kind == i)).astype(np.uint8)[ids]
        detail += (weight if local_blur is None else local_blur(weight)).astype(np.int32) * field
    return detail


def draw_object_mask(rng: np.random.Generator, height: int, width: int) -> Image:
    """Draw the mask of a shape with a radius of 5 to 30 % of the shorter side, `(height, width)` in 0..255."""
    size = min(height, width) * rng.uniform(0.05, 0.3)
    centre = rng.uniform((0, 0), (2 * width, 2 * height))
    mask = np.zeros((2 * height, 2 * width), np.uint8)
    cv2.fillPoly(mask, [_draw_outlines(rng, np.array([2 * size]), centre[None])[0]], 255)
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _draw_outlines(
    rng: np.random.Generator, radii: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """Draw outlines of rotated superellipses, `(count, vertices, 2)`; some are irregular, some are thin."""
    count = len(radii)
    angle = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False) + np.pi / 4
    exponent = rng.choice([0.35, 1.0, 1.0, 1.6], (count, 1))
    aspect = rng.choice([1.0, 0.6, 0.3, 0.08], (count, 1), p=[0.4, 0.3, 0.2, 0.1])
    bumps = 1 + rng.choice([0.0, 0.0, 0.25], (count, 1)) * rng.uniform(-1, 1, (count, _VERTICES))
    cos, sin = np.cos(angle), np.sin(angle)
    x = np.sign(cos) * np.abs(cos) ** exponent * bumps
    y = np.sign(sin) * np.abs(sin) ** exponent * bumps * aspect
    # A thin shape has the area of a round one of the same radius.
    stretch = (radii[:, None] / np.sqrt(aspect))[..., None]
    rotation = rng.uniform(0, np.pi, (count, 1))
    outline = np.stack(
        [x * np.cos(rotation) - y * np.sin(rotation), x * np.sin(rotation) + y * np.cos(rotation)], axis=-1
    )
    return np.rint(outline * stretch + centres[:, None]).astype(np.int32)


def _draw_colours(rng: np.random.Generator, below: npt.NDArray[np.uint16], sizes: npt.NDArray[np.float64]) -> Image:
    """Draw the sRGB colours of the leaves, `(count, 3)`.

    Brightness varies widely, there are three main hues, saturation is mostly low. The colour of a small leaf is close
    to that of the leaf behind it, so that contrast increases with scale; 1 in 20 leaves has an independent colour.

    Args:
        rng: Random generator.
        below: Leaf i is in front of leaf `below[i] < i`.
        sizes: Radii of the leaves divided by the maximum.
    """
    count = len(below)
    hue = rng.random(3)[rng.integers(0, 3, count)] + rng.uniform(-0.08, 0.08, count)
    saturation = 0.35 * rng.random(count) ** 3
    phases = 2 * np.pi * (hue[:, None] - np.arange(3) / 3)
    rgb = (0.02 + 0.9 * rng.random((count, 1)) ** 1.4) * (1 + 2 * saturation[:, None] * np.cos(phases))
    contrast = np.where(rng.random(count) < 0.05, 1.0, sizes**0.3).tolist()
    mixed = rgb.tolist()  # Python floats are faster than NumPy scalars here
    for i, behind in enumerate(below.tolist()):
        a = contrast[i]
        mixed[i] = [(1 - a) * other + a * own for other, own in zip(mixed[behind], mixed[i], strict=True)]
    return np.rint(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def _draw_text(rng: np.random.Generator, image: Image) -> None:
    """Draw a short random text on the image, in place."""
    height, width = image.shape[:2]
    letters = list(string.ascii_letters + string.digits)
    text = "".join(rng.choice(letters, int(rng.integers(3, 10))))
    colour = [int(c) for c in rng.integers(0, 256, 3)]
    position = (int(rng.integers(0, max(1, width // 2))), int(rng.integers(0, height)))
    size = float(rng.uniform(0.3, 1.5))
    cv2.putText(image, text, position, cv2.FONT_HERSHEY_SIMPLEX, size, colour, int(rng.integers(1, 4)), cv2.LINE_AA)
