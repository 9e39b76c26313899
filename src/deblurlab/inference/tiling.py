"""Images of any size through a network, in windows, from the top to the bottom.

A tile is the part of the restored image that one window is responsible for; the window is the tile and `overlap` pixels
around it. Where the overlap covers the network's reach, tiles are cut out of their windows and the result is that of
the whole image, bit for bit, since windows begin at multiples of the network's stride and end there or at the image's
border. With less, neighbouring windows are blended over the inner half of their overlap.
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
"""Side of the largest window that is chosen here."""
_LEAST = 256
"""Side of the smallest where results must be exact: PyTorch sums the convolutions of small images in another order."""
_STRIP = 128
"""Rows that are read at a time."""
_LITTLE = 64
"""Its overlap where the network's reach isn't affordable."""


class Span(NamedTuple):
    """A window along one side of the image, and its tile."""

    start: int
    stop: int
    first: int
    last: int
    """The tile's end."""


class Tiling(NamedTuple):
    """How an image is cut."""

    tile: int
    """Largest side of a tile, a multiple of the network's stride; 0: the image is restored whole."""
    overlap: int
    """Likewise a multiple."""
    exact: bool
    stride: int = 1
    """What windows begin at multiples of."""

    @property
    def ramp(self) -> int:
        """Over how many pixels, to each side of a tile's edge, neighbours are blended."""
        return 0 if self.exact else self.overlap // 2

    def spans(self, length: int) -> list[Span]:
        """The windows along a side."""
        if not self.tile:
            return [Span(0, length, 0, length)]
        even = -(-length // -(-length // self.tile))  # no last tile that is thin, in a window that isn't
        tile, overlap = -(-even // self.stride) * self.stride, self.overlap
        latest = (length - tile - overlap) // self.stride * self.stride  # the last window is as large as the first
        return [
            Span(max(0, min(at - overlap, latest)), min(length, at + tile + overlap), at, min(length, at + tile))
            for at in range(0, length, tile)
        ]


def choose_tiling(engine: Engine, height: int, width: int, *, tile: int | None = None, overlap: int | None = None) -> Tiling:
    """Windows for an image: None chooses, a tile of 0 means the whole image.

    Raises:
        UserError: The tile is smaller than the network's stride or the overlap.
    """
    stride = engine.multiple_of
    whole = height * width <= WINDOW**2 if tile is None else tile == 0 or tile >= max(height, width)
    if whole:
        return Tiling(0, 0, True)
    reach = engine.reach
    exactly = None if reach is None else -(-reach // stride) * stride
    given = WINDOW // 2 if tile is None else tile // stride * stride
    if overlap is not None:
        around = -(-overlap // stride) * stride
    elif exactly is not None and 2 * exactly <= given:
        around = max(exactly, -(-(_LEAST - given) // stride) * stride)
    else:
        around = min(-(-_LITTLE // stride), given // stride // 2) * stride
    side = (WINDOW - 2 * around) // stride * stride if tile is None else given
    exact = exactly is not None and around >= exactly
    if side < stride or (2 * around > side and not exact):  # evened, a tile may be half as large
        raise UserError(
            f"--tile {tile} is too small for an overlap of {around} pixels and a network of stride {stride}"
        )
    return Tiling(side, around, exact, stride)


def restore_rows(
    engine: Engine, rows: Rows, tiling: Tiling, *, strength: float = 1.0
) -> Iterator[tuple[Pixels, Pixels]]:
    """Restore an image; yields (blurred, restored) from the top to the bottom, some rows at a time: `(n, W, C)`, where
    the restored ones have colours alone.

    At no time is more held of the image than a row of windows.
    """
    across, ramp = tiling.spans(rows.width), tiling.ramp
    held = rows.read(0)
    scale = full_scale(held)
    top = done = 0  # of the rows held, and of those yielded
    pending = np.empty((0, rows.width, rows.colours), np.float32)
    for span in tiling.spans(rows.height):
        held = _further(held, span.start - top, rows, span.stop - top - len(held))
        top = span.start
        last = span.last == rows.height
        ready = rows.height if last else span.last - ramp
        size = min(span.last + ramp, rows.height) - done, rows.width, rows.colours
        band = np.zeros(size, np.float32 if ramp else held.dtype)
        if ramp:
            band[: len(pending)] = pending
        for column in across:
            part = _mixed(engine, held[:, column.start : column.stop, : rows.colours], strength, scale)
            _add(band, part, span, column, done, rows, ramp, scale)
        pending = band[ready - done :] if ramp else pending
        finished = band[: ready - done]
        yield (
            held[done - top : ready - top],
            finished if finished.dtype == held.dtype else round_to(finished, held.dtype),
        )
        del band, finished, part  # or they are held while the next are made
        done = ready


def _further(held: Pixels, gone: int, rows: Rows, count: int) -> Pixels:
    """The rows that are held without the first `gone`, and the next `count`; few are in memory twice at a time."""
    kept = len(held) - gone
    further = np.empty((kept + count, *held.shape[1:]), held.dtype)
    further[:kept] = held[gone:]
    for at in range(kept, len(further), _STRIP):
        further[at : at + _STRIP] = rows.read(min(_STRIP, len(further) - at))
    return further


def seam_error(engine: Engine, pixels: Pixels, tiling: Tiling) -> str:
    """What blending does to an image, measured on a part of it, `(H, W, C)`: tiles of half a side against all of it."""
    side = min(*pixels.shape[:2], WINDOW // 2) // (2 * engine.multiple_of) * 2 * engine.multiple_of
    middle = (pixels.shape[1] - side) // 2
    part = pixels[:side, middle : middle + side].astype(np.float32) / full_scale(pixels)
    small = Tiling(side // 2, tiling.overlap, False)
    if small.tile <= small.overlap:
        return f"tiles of {tiling.tile} pixels, blended over {tiling.overlap}, and too small an image to measure by"
    whole, tiled = (
        np.concatenate([restored for _, restored in restore_rows(engine, InMemory(part, part.shape[2]), cut)])
        for cut in (Tiling(0, 0, True), small)
    )
    apart = 255 * np.abs(whole - tiled)
    return (
        f"tiles of {tiling.tile} pixels, blended over {tiling.overlap} to each side: not quite as if restored whole, "
        f"{apart.mean():.2g} of 255 levels on average and {apart.max():.2g} at most (on a part of {side} x {side})"
    )


def _add(band: Pixels, part: Tensor, span: Span, column: Span, done: int, rows: Rows, ramp: int, scale: int) -> None:
    """Lay a restored window `(C, h, w)` over a band of the image that begins at row `done`."""
    up, down = max(span.first - ramp, 0), min(span.last + ramp, rows.height)
    left, right = max(column.first - ramp, 0), min(column.last + ramp, rows.width)
    inner = part[:, up - span.start : down - span.start, left - column.start : right - column.start]
    values = (inner.clamp(0, 1) * scale).permute(1, 2, 0)
    place = band[up - done : down - done, left:right]
    if ramp:
        weights = _weights(span, up, down, ramp)[:, None] * _weights(column, left, right, ramp)
        place += (values * weights[..., None]).numpy()
    else:
        place[:] = round_to(values.numpy(), band.dtype)


def _weights(span: Span, start: int, stop: int, ramp: int) -> Tensor:
    """Of the pixels from `start` to `stop`: 1 in the tile, falling across its edges so that neighbours' add up to 1."""
    at = torch.arange(start, stop) + 0.5
    ones = torch.ones(len(at))
    rise = ((at - span.first) / (2 * ramp) + 0.5).clamp(0, 1) if span.first > 0 else ones
    fall = ((span.last - at) / (2 * ramp) + 0.5).clamp(0, 1) if stop > span.last else ones
    return rise * fall


def _mixed(engine: Engine, window: Pixels, strength: float, scale: int) -> Tensor:
    """A restored window, `(C, h, w)` in [0, 1]."""
    blurred = to_float(window, scale)
    restored = engine(blurred.expand(3, -1, -1)[None])[0]
    if len(blurred) == 1:  # a grey image stays grey
        restored = restored.clamp(0, 1).mean(0, keepdim=True)
    return restored if strength == 1 else torch.lerp(blurred, restored.clamp(0, 1), strength)


def to_float(pixels: Pixels, scale: int) -> Tensor:
    """`(H, W, C)` -> `(C, H, W)` in [0, 1]."""
    return torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1) / scale
