"""Exposure: the average of moving layers in linear light.

Linear light is stored in 14-bit integers. A bilinear weight has 10 bits (positions are rounded to 1/32 pixel), so every
product and every sum of four products fits into the 24-bit significand of a float32. OpenCV's result is therefore exact
on every processor. Layers are stored as float32, which is exact for the same reason, and faster. Only highlights that
are brighter than white need more bits: near them, processors may differ in the last bit.
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from deblurlab.media.srgb import srgb_to_linear
from deblurlab.synthesis.motion import Trajectory

LINEAR_MAX = (1 << 14) - 1
"""Linear light of white."""
MAX_HIGHLIGHTS = 3
"""Largest light beyond white, in multiples of white: linear light fits into 16 bits."""
LinearImage = npt.NDArray[np.uint16]
"""`(H, W, 3)` linear light, 0..LINEAR_MAX, or up to (1 + MAX_HIGHLIGHTS) * LINEAR_MAX before the sensor."""
FloatLinearImage = npt.NDArray[np.float32]
"""The values of a `LinearImage` as float32."""


class Layer(NamedTuple):
    """Layer of a scene. Its image and mask are larger than the frame by the same margin on all sides."""

    light: FloatLinearImage
    """`(rows, columns, 3)`."""
    mask: npt.NDArray[np.uint8] | None
    """`(rows, columns)` opacity, 0..255; None for an opaque layer."""
    trajectory: Trajectory


def _linear_table() -> npt.NDArray[np.uint16]:
    return np.rint(LINEAR_MAX * srgb_to_linear(np.arange(256) / 255)).astype(np.uint16)


SRGB_TO_LINEAR = _linear_table()
"""Linear light of each of the 256 sRGB code values (IEC 61966-2-1), rounded."""

_MIDPOINTS = (SRGB_TO_LINEAR[:-1].astype(np.int32) + SRGB_TO_LINEAR[1:]) // 2
LINEAR_TO_SRGB = np.searchsorted(_MIDPOINTS, np.arange(LINEAR_MAX + 1), side="left").astype(np.uint8)
"""sRGB code value whose linear light is nearest, for each linear value."""

HIGHLIGHT_RAMP = (np.clip(np.arange(256) - 230, 0, None) / 25).astype(np.float32) ** 2
"""Share of the additional light for each code value of the brightest channel: from 0 at 230 to 1 at 255."""


def decode_srgb(image: npt.NDArray[np.uint8], highlights: float = 0.0) -> FloatLinearImage:
    """Convert an 8-bit sRGB image, `(H, W, 3)`, to linear light; highlights get up to `highlights` times more.

    A camera clips highlights after the exposure. Their light before it is unknown from a photograph, but motion blur
    turns it into streaks that stay saturated (Cho, Wang and Lee, "Handling Outliers in Non-Blind Image Deconvolution",
    ICCV 2011).
    """
    light = SRGB_TO_LINEAR.astype(np.float32)[image]
    if highlights:
        light = np.rint(light * (1 + np.float32(highlights) * HIGHLIGHT_RAMP[image.max(axis=-1, keepdims=True)]))
    return light


def expose(layers: list[Layer], height: int, width: int, *, average_srgb: bool = False) -> LinearImage:
    """Return the temporal average of moving layers, given back to front: `(height, width, 3)`.

    A sensor integrates linear light. With `average_srgb` the sRGB code values of all times are averaged instead, as
    when the frames of a video are averaged, and the result is converted to linear light.
    """
    steps = len(layers[0].trajectory)
    total = np.zeros((height, width, 3), np.float32)  # integer-valued: exact for up to 256 steps
    for t in range(steps):
        frame = _render_frame(layers, [layer.trajectory[t] for layer in layers], height, width)
        total += LINEAR_TO_SRGB[np.minimum(frame, LINEAR_MAX).astype(np.uint16)] if average_srgb else frame
    mean = (total.astype(np.uint32) + steps // 2) // steps
    return SRGB_TO_LINEAR[mean] if average_srgb else mean.astype(np.uint16)


def expose_static(layers: list[Layer], height: int, width: int) -> LinearImage:
    """Return the sharp image, `(height, width, 3)`: every layer is at its mean position, 0."""
    return _render_frame(layers, [np.zeros(3)] * len(layers), height, width).astype(np.uint16)


def blur_defocus(light: LinearImage, radius: float) -> LinearImage:
    """Blur with a uniform disc (circle of confusion) of a radius in pixels; the border is reflected."""
    if radius <= 0:
        return light
    weights = disc_weights(radius)
    # Integer values in float64 are exact in any order of summation.
    sums = np.rint(cv2.filter2D(light.astype(np.float64), -1, weights, borderType=cv2.BORDER_REFLECT_101))
    return np.asarray((sums + weights.sum() // 2) // weights.sum(), np.uint16)


def disc_weights(radius: float) -> npt.NDArray[np.float64]:
    """Return the covered area of each pixel under a disc, in units of 1/64 pixel: an odd square of integers."""
    half = int(np.ceil(radius))
    fine = (np.arange((2 * half + 1) * 8) + 0.5) / 8 - half - 0.5
    inside = fine[:, None] ** 2 + fine**2 <= radius**2
    side = 2 * half + 1
    counts = inside.reshape(side, 8, side, 8).sum(axis=(1, 3)).astype(np.float64)
    return counts if counts.any() else np.ones((1, 1))


def _render_frame(
    layers: list[Layer], poses: list[npt.NDArray[np.float64]], height: int, width: int
) -> FloatLinearImage:
    """Return the scene at one time, integer-valued; `poses` are (x, y, angle) of the layers."""
    frame = np.zeros((height, width, 3), np.float32)
    for layer, pose in zip(layers, poses, strict=True):
        light = layer.light
        if layer.mask is None:
            maps = _remap_positions(pose, height, width, light.shape[:2])
            moved = cv2.remap(light, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
            frame = np.rint(np.asarray(moved, np.float32))
            continue
        x, y, w, h = cv2.boundingRect(layer.mask)
        if w == 0:
            continue
        # Only the part of the frame that the object can reach at this time is computed.
        x, y = x - (light.shape[1] - width) // 2, y - (light.shape[0] - height) // 2
        reach = int(np.ceil(np.abs(pose[:2]).max() + abs(pose[2]) * max(light.shape))) + 1
        top, bottom = max(0, y - reach), min(height, y + h + reach)
        left, right = max(0, x - reach), min(width, x + w + reach)
        if top >= bottom or left >= right:
            continue
        window = (slice(top, bottom), slice(left, right))
        maps = _remap_positions(pose, height, width, light.shape[:2], window)
        moved = cv2.remap(light, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        alpha = cv2.remap(layer.mask, *maps, cv2.INTER_LINEAR).astype(np.float32)[..., None] * np.float32(1 / 255)
        behind = frame[window]
        frame[window] = np.rint(behind + (moved - behind) * alpha)
    return frame


def _remap_positions(
    pose: npt.NDArray[np.float64],
    height: int,
    width: int,
    layer: tuple[int, ...],
    window: tuple[slice, slice] = (slice(None), slice(None)),
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint16]]:
    """Return fixed-point maps of `cv2.remap` that move a layer by (x, y, angle) and cut out the frame or a window."""
    x, y, angle = pose
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
