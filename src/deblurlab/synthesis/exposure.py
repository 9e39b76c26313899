"""The exposure: layers that move are averaged in linear light.

Linear light is held in 14-bit integers. A bilinear weight has 10 bits (positions are rounded to 1/32 pixel),
so every product and every sum of four fits into the 24 bits of a float32 and OpenCV's result is exact,
whatever instructions the processor has. Layers are moved as floats for the same reason: it is as exact, and faster.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from deblurlab.media.srgb import srgb_to_linear
from deblurlab.synthesis.motion import Path

LINEAR_MAX = (1 << 14) - 1
Linear = npt.NDArray[np.uint16]
"""(H, W, 3), linear light, 0..LINEAR_MAX."""


Light = npt.NDArray[np.float32]
"""The same values as floats."""


class Layer(NamedTuple):
    """One thing in front of another: its `light` (H, W, 3), `mask` (H, W) in 0..255 or None for all of it, and its
    `path` in the frame. `light` and `mask` are larger than the frame by the same margin on all sides."""

    light: Light
    mask: npt.NDArray[np.uint8] | None
    path: Path


def _linear_table() -> npt.NDArray[np.uint16]:
    return np.rint(LINEAR_MAX * srgb_to_linear(np.arange(256) / 255)).astype(np.uint16)


SRGB_TO_LINEAR = _linear_table()
"""256 entries: the sRGB response (IEC 61966-2-1), inverted and rounded."""

# A linear value becomes the code whose own linear value is nearest.
_MIDPOINTS = (SRGB_TO_LINEAR[:-1].astype(np.int32) + SRGB_TO_LINEAR[1:]) // 2
LINEAR_TO_SRGB = np.searchsorted(_MIDPOINTS, np.arange(LINEAR_MAX + 1), side="left").astype(np.uint8)


def expose(layers: list[Layer], height: int, width: int, *, as_codes: bool = False) -> Linear:
    """The mean over time of the scene that `layers`, back to front, make while they move: `(height, width, 3)`.

    A sensor adds up light. `as_codes` averages the sRGB codes of all moments instead, which is what averaging the
    frames of a video does, and returns the light of the mean code."""
    moments = len(layers[0].path)
    total = np.zeros((height, width, 3), np.float32)  # of whole numbers: exact for a thousand moments
    for t in range(moments):
        frame = _frame(layers, [layer.path[t] for layer in layers], height, width)
        total += LINEAR_TO_SRGB[frame.astype(np.uint16)] if as_codes else frame
    mean = (total.astype(np.uint32) + moments // 2) // moments
    return SRGB_TO_LINEAR[mean] if as_codes else mean.astype(np.uint16)


def out_of_focus(light: Linear, radius: float) -> Linear:
    """What a lens shows whose circle of confusion has this radius in pixels: every point spread evenly over a disc;
    light from beyond the border is that of its mirror."""
    if radius <= 0:
        return light
    weights = disc(radius)
    # Integers in doubles: exact, whatever the order of the sums.
    sums = np.rint(cv2.filter2D(light.astype(np.float64), -1, weights, borderType=cv2.BORDER_REFLECT_101))
    return np.asarray((sums + weights.sum() // 2) // weights.sum(), np.uint16)


def disc(radius: float) -> npt.NDArray[np.float64]:
    """The share of each pixel that a disc covers, in 1/64: odd square, whole numbers."""
    reach = int(np.ceil(radius))
    fine = (np.arange((2 * reach + 1) * 8) + 0.5) / 8 - reach - 0.5
    inside = fine[:, None] ** 2 + fine**2 <= radius**2
    side = 2 * reach + 1
    counts = inside.reshape(side, 8, side, 8).sum(axis=(1, 3)).astype(np.float64)
    return counts if counts.any() else np.ones((1, 1))


def still(layers: list[Layer], height: int, width: int) -> Linear:
    """The same scene with every layer at its mean position, which is 0: the sharp picture, `(height, width, 3)`."""
    return _frame(layers, [np.zeros(3)] * len(layers), height, width).astype(np.uint16)


def _frame(layers: list[Layer], places: list[npt.NDArray[np.float64]], height: int, width: int) -> Light:
    """One moment, in whole numbers."""
    frame = np.zeros((height, width, 3), np.float32)
    for layer, place in zip(layers, places, strict=True):
        light = layer.light
        if layer.mask is None:
            where = _positions(place, height, width, light.shape[:2])
            moved = cv2.remap(light, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            frame = np.rint(np.asarray(moved, np.float32))
            continue
        x, y, w, h = cv2.boundingRect(layer.mask)
        if w == 0:
            continue
        # Only the part of the frame that the object can reach at this moment is touched.
        x, y = x - (light.shape[1] - width) // 2, y - (light.shape[0] - height) // 2
        reach = int(np.ceil(np.abs(place[:2]).max() + abs(place[2]) * max(light.shape))) + 1
        top, bottom = max(0, y - reach), min(height, y + h + reach)
        left, right = max(0, x - reach), min(width, x + w + reach)
        if top >= bottom or left >= right:
            continue
        window = (slice(top, bottom), slice(left, right))
        where = _positions(place, height, width, light.shape[:2], window)
        moved = cv2.remap(light, *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        alpha = cv2.remap(layer.mask, *where, cv2.INTER_LINEAR).astype(np.float32)[..., None] * np.float32(1 / 255)
        under = frame[window]
        frame[window] = np.rint(under + (moved - under) * alpha)
    return frame


def _positions(
    place: npt.NDArray[np.float64],
    height: int,
    width: int,
    layer: tuple[int, ...],
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]:
    """OpenCV's fixed-point maps that move a layer by (x, y, angle) and cut the frame, or a window of it, out of its
    middle."""
    x, y, angle = place
    # In units of 2^-15 pixels, rounded to 2^-5 at the end; a frame of 16,000 pixels still fits into 31 bits.
    cos, sin = round(np.cos(angle) * 2**15), round(np.sin(angle) * 2**15)
    across = 2 * np.arange(width)[window[1]] - (width - 1)
    down = (2 * np.arange(height)[window[0]] - (height - 1))[:, None]
    rows, columns = layer[:2]
    shift_x = round(2**16 * (columns - 1) / 2) - round(2 * (cos * x + sin * y)) + 2**10
    shift_y = round(2**16 * (rows - 1) / 2) - round(2 * (cos * y - sin * x)) + 2**10
    map_x = (cos * across + shift_x).astype(np.int32) + (sin * down).astype(np.int32)
    map_y = (cos * down + shift_y).astype(np.int32) - (sin * across).astype(np.int32)
    whole = np.empty((*map_x.shape, 2), np.int16)
    np.right_shift(map_x, 16, out=whole[..., 0], casting="unsafe")
    np.right_shift(map_y, 16, out=whole[..., 1], casting="unsafe")
    map_x >>= 11
    map_x &= 31
    map_y >>= 6
    map_y &= 31 << 5
    map_y |= map_x
    return whole, map_y.astype(np.uint16)
