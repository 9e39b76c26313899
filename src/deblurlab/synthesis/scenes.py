"""Scenes of dead leaves: occluding shapes whose sizes follow a power law.

Natural images owe their edges and their scale invariance to objects that hide one another; a random
collage of shapes with sizes drawn from r^-3 has the same statistics (Lee, Mumford and Huang, "Occlusion
Models for Natural Images", IJCV 2001), and networks trained on it restore photographs nearly as well as
networks trained on photographs (Achddou, Gousseau and Ladjal, "Synthetic Images as a Regularity Prior for
Image Restoration Neural Networks", SSVM 2021).
"""

import string
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from deblurlab.synthesis import textures
from deblurlab.synthesis.textures import fractal_noise, stripes

Image = npt.NDArray[np.uint8]
"""(H, W, 3), sRGB, 0..255."""

_VERTICES = 20
_LARGE = 40
"""Leaves of the largest kind that are painted first, so that no hole is left."""


def dead_leaves(rng: np.random.Generator, height: int, width: int, *, leaves: int = 900, texture: float = 0.0) -> Image:
    """A collage of `leaves` textured, shaded shapes on a plain ground, with now and then a line of text.

    Shapes are drawn at twice the size and averaged down, so edges are smooth. Up to twice the share `texture`, 0..1, of
    the leaves are covered with fine texture. With any, a scene has between a twentieth of the leaves and all of them,
    so that there are places with little in them, too, and in two thirds of the scenes edges are softer in some places
    than in others, with fine texture on both.
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
    spots = centres.astype(int)
    for i, polygon in enumerate(_outlines(rng, radii, centres), start=1):
        below[i] = ids[spots[i - 1, 1], spots[i - 1, 0]]
        cv2.fillPoly(ids, [polygon], i)
    colours = _colours(rng, below, np.concatenate([[1.0], radii / largest]))
    scene = _painted(ids, colours)
    for _ in range(int(rng.integers(0, 3))):
        _write(rng, scene)

    ids = np.ascontiguousarray(ids[::2, ::2])
    focus = _focus(rng, height, width) if texture else None
    if focus is not None:
        scene = focus(scene)
    detail = np.zeros((height, width), np.int32)
    for field, strongest, rarity in (
        (fractal_noise(rng, height, width, finest=1), 90.0, 1.5),
        (fractal_noise(rng, height, width, finest=8), 90.0, 1.5),
        (stripes(rng, height, width), 60.0, 30),
    ):
        # Powers of uniform numbers: most leaves are nearly smooth, few are rough, as in photographs.
        strength = (strongest * rng.random(leaves + 1) ** rarity).astype(np.int32)
        detail += strength[ids] * field
    if texture:
        detail += _fine(rng, ids, leaves + 1, min(1.0, 2 * texture * rng.random()), focus)
    light = 256 + fractal_noise(rng, height, width, finest=max(1, max(height, width) // 4)) // 2
    lit = (scene.astype(np.int32) + (detail >> 7)[..., None]) * light[..., None]
    return np.clip(lit >> 8, 0, 255).astype(np.uint8)


def _painted(ids: npt.NDArray[np.uint16], colours: Image) -> Image:
    """The colours, `(count, 3)`, of the leaves that `ids` shows, averaged over squares of two."""
    packed = np.zeros((len(colours), 4), np.uint8)
    packed[:, :3] = colours  # four bytes are looked up at once
    fine = packed.view(np.uint32)[:, 0].take(ids).view(np.uint8).reshape(*ids.shape, 4)
    half = cv2.resize(fine, (ids.shape[1] // 2, ids.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(half[..., :3], np.uint8)


Focus = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


def _focus(rng: np.random.Generator, height: int, width: int) -> Focus | None:
    """Blurs some places of a picture of this size; in a third of the scenes there is none."""
    if rng.random() < 1 / 3:
        return None
    deviation = 10 ** rng.random()
    places = fractal_noise(rng, height, width, finest=32) * 4 + int(rng.integers(-128, 384))
    share = np.clip(places, 0, 255)

    def focused(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        soft = cv2.GaussianBlur(picture, (0, 0), deviation).astype(np.int32)
        by = share.reshape(*share.shape, *[1] * (picture.ndim - 2))
        return (picture + ((soft - picture) * by >> 8)).astype(np.uint8)

    return focused


def _fine(
    rng: np.random.Generator, ids: npt.NDArray[np.uint16], count: int, share: float, focus: Focus | None
) -> textures.Texture:
    """`(height, width)`, in 1/128 of a code: each leaf has one of three textures, or none. Nearly half of the textures
    are soft, and where leaves are out of `focus`, their textures pass into one another."""
    detail = np.zeros(ids.shape, np.int32)
    strength = 120 * rng.random(count) ** 1.5 * (rng.random(count) < share)
    kind = rng.integers(0, 3, count)
    for i, make in enumerate(rng.choice(len(textures.KINDS), 3)):
        field, softness = textures.KINDS[make](rng, *ids.shape), 2 * max(0.0, rng.uniform(-1, 1))
        if softness > 0.2:
            bytes_ = np.clip(field + 128, 0, 255).astype(np.uint8)  # whose blur is the same on every processor
            field = cv2.GaussianBlur(bytes_, (0, 0), softness).astype(np.int32) - 128
        here = np.rint(strength * (kind == i)).astype(np.uint8)[ids]
        detail += (here if focus is None else focus(here)).astype(np.int32) * field
    return detail


def blob(rng: np.random.Generator, height: int, width: int) -> Image:
    """(height, width) mask in 0..255 of one random shape, between a tenth and a half of the frame across."""
    size = min(height, width) * rng.uniform(0.05, 0.3)
    centre = rng.uniform((0, 0), (2 * width, 2 * height))
    mask = np.zeros((2 * height, 2 * width), np.uint8)
    cv2.fillPoly(mask, [_outlines(rng, np.array([2 * size]), centre[None])[0]], 255)
    return np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _outlines(
    rng: np.random.Generator, radii: npt.NDArray[np.float64], centres: npt.NDArray[np.float64]
) -> npt.NDArray[np.int32]:
    """Rotated superellipses, from diamond to near-rectangle, some bumpy, some thin like poles: (count, vertices, 2)."""
    count = len(radii)
    angle = np.linspace(0, 2 * np.pi, _VERTICES, endpoint=False) + np.pi / 4
    exponent = rng.choice([0.35, 1.0, 1.0, 1.6], (count, 1))
    aspect = rng.choice([1.0, 0.6, 0.3, 0.08], (count, 1), p=[0.4, 0.3, 0.2, 0.1])
    bumps = 1 + rng.choice([0.0, 0.0, 0.25], (count, 1)) * rng.uniform(-1, 1, (count, _VERTICES))
    cos, sin = np.cos(angle), np.sin(angle)
    x = np.sign(cos) * np.abs(cos) ** exponent * bumps
    y = np.sign(sin) * np.abs(sin) ** exponent * bumps * aspect
    # A thin shape keeps the area of a round one of its radius.
    stretch = (radii[:, None] / np.sqrt(aspect))[..., None]
    turn = rng.uniform(0, np.pi, (count, 1))
    outline = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=-1)
    return np.rint(outline * stretch + centres[:, None]).astype(np.int32)


def _colours(rng: np.random.Generator, below: npt.NDArray[np.uint16], sizes: npt.NDArray[np.float64]) -> Image:
    """(count, 3) sRGB for leaves whose `sizes` are relative to the largest; leaf i lies on leaf `below[i] < i`.

    Brightness is spread widely, hues are few, saturation is mostly low. A small leaf differs little from the
    one below it, so that contrast grows with scale; one in twenty stands out whatever its size.
    """
    count = len(below)
    hue = rng.random(3)[rng.integers(0, 3, count)] + rng.uniform(-0.08, 0.08, count)
    saturation = 0.35 * rng.random(count) ** 3
    phases = 2 * np.pi * (hue[:, None] - np.arange(3) / 3)
    rgb = (0.02 + 0.9 * rng.random((count, 1)) ** 1.4) * (1 + 2 * saturation[:, None] * np.cos(phases))
    apart = np.where(rng.random(count) < 0.05, 1.0, sizes**0.3).tolist()
    mixed = rgb.tolist()  # one by one, Python's numbers are faster than numpy's
    for i, under in enumerate(below.tolist()):
        mixed[i] = [(1 - apart[i]) * there + apart[i] * own for there, own in zip(mixed[under], mixed[i], strict=True)]
    return np.rint(255 * np.clip(mixed, 0, 1)).astype(np.uint8)


def _write(rng: np.random.Generator, scene: Image) -> None:
    """Paint a short random text on the scene, in place."""
    height, width = scene.shape[:2]
    letters = list(string.ascii_letters + string.digits)
    text = "".join(rng.choice(letters, int(rng.integers(3, 10))))
    colour = [int(c) for c in rng.integers(0, 256, 3)]
    place = (int(rng.integers(0, max(1, width // 2))), int(rng.integers(0, height)))
    size = float(rng.uniform(0.3, 1.5))
    cv2.putText(scene, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, int(rng.integers(1, 4)), cv2.LINE_AA)
