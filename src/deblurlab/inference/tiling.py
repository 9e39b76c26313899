"""Tiled restoration of images of any size, from top to bottom.

A tile is the part of the restored image that comes from one window; a window is a tile and `overlap` pixels around it.
If the overlap covers the network's receptive radius, tiles are cropped from their windows, and the result equals that
of the whole image bit for bit: windows start at multiples of the network's stride and end there or at the image's
border. With less overlap, neighbouring windows are blended over the inner half of their overlap.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.inference.engines import Engine
from deblurlab.media.pixels import InMemory, Pixels, Rows, full_scale, round_to

WINDOW = 2048
"""Largest side of an automatically chosen window. Images with at most `WINDOW ** 2` pixels are restored whole."""
_MIN_EXACT_WINDOW = 256
"""Smallest side of a window with exact results. PyTorch sums the convolutions of smaller images in another order."""
_ROWS_PER_READ = 128
_BLENDED_OVERLAP = 64
"""Default overlap if the receptive radius is unknown or too large for the tile."""


class Span(NamedTuple):
    """A window and its tile along one side of the image."""

    start: int
    stop: int
    tile_start: int
    tile_stop: int


class Tiling(NamedTuple):
    """Division of an image into tiles."""

    tile: int
    """Largest side of a tile, a multiple of the stride; 0: the image is restored whole."""
    overlap: int
    """Overlap on each side of a tile, a multiple of the stride."""
    exact: bool
    """Whether the result equals that of the whole image; otherwise windows are blended."""
    stride: int = 1
    """Stride of the network."""

    @property
    def ramp(self) -> int:
        """Number of pixels on each side of a tile's edge over which windows are blended."""
        return 0 if self.exact else self.overlap // 2

    def spans(self, length: int) -> list[Span]:
        """Return the windows along a side of `length` pixels."""
        if not self.tile:
            return [Span(0, length, 0, length)]
        even = -(-length // -(-length // self.tile))  # tiles of equal size, so that the last one isn't narrow
        tile, overlap = -(-even // self.stride) * self.stride, self.overlap
        last_start = (length - tile - overlap) // self.stride * self.stride  # the last window is as large as the first
        return [
            Span(max(0, min(i - overlap, last_start)), min(length, i + tile + overlap), i, min(length, i + tile))
            for i in range(0, length, tile)
        ]


def choose_tiling(
    engine: Engine, height: int, width: int, *, tile: int | None = None, overlap: int | None = None
) -> Tiling:
    """Choose the tiling of an image.

    Args:
        engine: Runs the network.
        height: Height of the image.
        width: Width of the image.
        tile: Side of a tile; None tiles only large images, 0 disables tiling.
        overlap: Overlap on each side of a tile; None covers the receptive radius if the tile is large enough.

    Raises:
        UserError: The tile is smaller than the network's stride or the overlap.
    """
    stride = engine.multiple_of
    whole = height * width <= WINDOW**2 if tile is None else tile == 0 or tile >= max(height, width)
    if whole:
        return Tiling(0, 0, True)
    radius = engine.receptive_radius
    exact_overlap = None if radius is None else -(-radius // stride) * stride
    nominal = WINDOW // 2 if tile is None else tile // stride * stride
    if overlap is not None:
        chosen = -(-overlap // stride) * stride
    elif exact_overlap is not None and 2 * exact_overlap <= nominal:
        chosen = max(exact_overlap, -(-(_MIN_EXACT_WINDOW - nominal) // stride) * stride)
    else:
        chosen = min(-(-_BLENDED_OVERLAP // stride), nominal // stride // 2) * stride
    side = (WINDOW - 2 * chosen) // stride * stride if tile is None else nominal
    exact = exact_overlap is not None and chosen >= exact_overlap
    smallest = stride if exact else max(stride, 2 * chosen)  # `Tiling.spans` may halve a tile
    if side < smallest:
        with_overlap = "" if overlap is None else f" and --overlap {overlap}"
        given = "auto" if tile is None else tile
        raise UserError(
            f"--tile {given} is too small for a network of stride {stride}{with_overlap}: use at least {smallest}"
        )
    return Tiling(side, chosen, exact, stride)


def restore_rows(
    engine: Engine, rows: Rows, tiling: Tiling, *, strength: float = 1.0
) -> Iterator[tuple[Pixels, Pixels]]:
    """Restore an image from top to bottom. Only one row of windows is in memory at a time.

    Args:
        engine: Runs the network.
        rows: The blurred image.
        tiling: Its tiling.
        strength: Weight of the restored image, 0 to 1; the blurred image has the rest.

    Yields:
        `(blurred, restored)`, the next rows: `(n, W, C)` with all channels and `(n, W, colours)`.
    """
    columns, ramp = tiling.spans(rows.width), tiling.ramp
    held = rows.read(0)
    scale = full_scale(held)
    top = done = 0  # index of the first row in `held`, and of the first row that wasn't yielded
    pending = np.empty((0, rows.width, rows.colours), np.float32)
    for span in tiling.spans(rows.height):
        held = _advance(held, span.start - top, rows, span.stop - top - len(held))
        top = span.start
        last = span.tile_stop == rows.height
        ready = rows.height if last else span.tile_stop - ramp
        size = min(span.tile_stop + ramp, rows.height) - done, rows.width, rows.colours
        band = np.zeros(size, np.float32 if ramp else held.dtype)
        if ramp:
            band[: len(pending)] = pending
        for column in columns:
            part = _restore_window(engine, held[:, column.start : column.stop, : rows.colours], strength, scale)
            _add(band, part, span, column, done, rows, ramp, scale)
        pending = band[ready - done :] if ramp else pending
        finished = band[: ready - done]
        yield (
            held[done - top : ready - top],
            finished if finished.dtype == held.dtype else round_to(finished, held.dtype),
        )
        del band, finished, part  # frees memory before the next rows are computed
        done = ready


def seam_error(engine: Engine, pixels: Pixels, tiling: Tiling) -> str:
    """Measure the error of blended tiles on a part of an image, `(H, W, C)`, and return it in words.

    A square part is restored as a whole and in four tiles with the overlap of `tiling`.
    """
    side = min(*pixels.shape[:2], WINDOW // 2) // (2 * engine.multiple_of) * 2 * engine.multiple_of
    left = (pixels.shape[1] - side) // 2
    part = pixels[:side, left : left + side].astype(np.float32) / full_scale(pixels)
    small = Tiling(side // 2, tiling.overlap, False)
    description = f"tiles of {tiling.tile} pixels, blended over {tiling.overlap} pixels on each side"
    if small.tile <= small.overlap:
        return f"{description}; the image is too small to measure the error"
    whole, tiled = (
        np.concatenate([restored for _, restored in restore_rows(engine, InMemory(part, part.shape[2]), division)])
        for division in (Tiling(0, 0, True), small)
    )
    difference = 255 * np.abs(whole - tiled)
    return (
        f"{description}; they differ from the image restored whole by {difference.mean():.2g} of 255 levels on average "
        f"and {difference.max():.2g} at most (measured on {side} x {side} pixels)"
    )


def _advance(held: Pixels, count_old: int, rows: Rows, count_new: int) -> Pixels:
    """Return the held rows without the first `count_old` and with the next `count_new`.

    The new rows are read in small portions, because each of them is in memory twice for a moment.
    """
    kept = len(held) - count_old
    result = np.empty((kept + count_new, *held.shape[1:]), held.dtype)
    result[:kept] = held[count_old:]
    for i in range(kept, len(result), _ROWS_PER_READ):
        result[i : i + _ROWS_PER_READ] = rows.read(min(_ROWS_PER_READ, len(result) - i))
    return result


def _add(band: Pixels, part: Tensor, span: Span, column: Span, done: int, rows: Rows, ramp: int, scale: int) -> None:
    """Add a restored window `(C, h, w)` to a band of the image that starts at row `done`."""
    top, bottom = max(span.tile_start - ramp, 0), min(span.tile_stop + ramp, rows.height)
    left, right = max(column.tile_start - ramp, 0), min(column.tile_stop + ramp, rows.width)
    inner = part[:, top - span.start : bottom - span.start, left - column.start : right - column.start]
    values = (inner.clamp(0, 1) * scale).permute(1, 2, 0)
    target = band[top - done : bottom - done, left:right]
    if ramp:
        weights = _blend_weights(span, top, bottom, ramp)[:, None] * _blend_weights(column, left, right, ramp)
        target += (values * weights[..., None]).numpy()
    else:
        target[:] = round_to(values.numpy(), band.dtype)


def _blend_weights(span: Span, start: int, stop: int, ramp: int) -> Tensor:
    """Return the weights of the pixels from `start` to `stop`.

    They are 1 inside the tile and fall linearly across its edges; those of neighbouring tiles sum to 1.
    """
    positions = torch.arange(start, stop) + 0.5
    ones = torch.ones(len(positions))
    rise = ((positions - span.tile_start) / (2 * ramp) + 0.5).clamp(0, 1) if span.tile_start > 0 else ones
    fall = ((span.tile_stop - positions) / (2 * ramp) + 0.5).clamp(0, 1) if stop > span.tile_stop else ones
    return rise * fall


def _restore_window(engine: Engine, window: Pixels, strength: float, scale: int) -> Tensor:
    """Restore the pixels of a window, `(h, w, C)`, to `(C, h, w)` in [0, 1]."""
    blurred = torch.from_numpy(window.astype(np.float32)).permute(2, 0, 1) / scale
    restored = engine(blurred.expand(3, -1, -1)[None])[0]
    if len(blurred) == 1:  # a grey image stays grey
        restored = restored.clamp(0, 1).mean(0, keepdim=True)
    return restored if strength == 1 else torch.lerp(blurred, restored.clamp(0, 1), strength)
