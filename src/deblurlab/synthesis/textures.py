"""Random textures of dead leaves: `(height, width)` integers, most of them in -128..127.

Interpolation is on integers, so that a seed gives bit-identical textures on every processor.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Texture = npt.NDArray[np.int32]


def fractal_noise(rng: np.random.Generator, height: int, width: int, *, finest: int, slope: float = 1.0) -> Texture:
    """Return noise whose amplitude is proportional to scale^slope, from `finest` pixels up; slope 1 is 1/f noise."""
    noise = np.zeros((height, width), np.int32)
    scale, total = finest, 0
    while scale < max(height, width):
        rows, columns = -(-height // scale) + 1, -(-width // scale) + 1
        grid = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
        # INTER_LINEAR_EXACT is bit-identical on every processor.
        size = (columns * scale, rows * scale)
        octave = cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR_EXACT)[:height, :width]
        weight = scale if slope == 1 else round(256 * scale**slope)
        noise += weight * (octave.astype(np.int32) - 128)
        total += weight * weight
        scale *= 2
    return noise // max(1, int(total**0.5))


def stripes(rng: np.random.Generator, height: int, width: int) -> Texture:
    """Return a sinusoid of random direction with a period of 4 to 40 pixels."""
    angle, period = rng.uniform(0, np.pi), 4 * 10 ** rng.random()
    y, x = np.arange(height)[:, None], np.arange(width)
    phase = 2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y)
    return np.rint(127 * np.sin(phase)).astype(np.int32)


def rough(rng: np.random.Generator, height: int, width: int) -> Texture:
    """Return fractal noise between white and 1/f, similar to plaster, asphalt or skin."""
    return fractal_noise(rng, height, width, finest=int(rng.integers(1, 4)), slope=rng.uniform(0, 0.9))


def fur(rng: np.random.Generator, height: int, width: int) -> Texture:
    """Return streaks, 1 to 3 pixels thick, along wavy lines, similar to hair, grass or wood grain."""
    length, thickness = int(rng.integers(6, 40)), int(rng.integers(1, 4))
    side = height + width
    grid = rng.integers(0, 256, (side // thickness + 1, side // length + 1), dtype=np.uint8)
    size = (grid.shape[1] * length, grid.shape[0] * thickness)
    streaks = np.asarray(cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR_EXACT), np.uint8)
    wave = fractal_noise(rng, height, width, finest=int(rng.integers(16, 64))) * int(rng.integers(0, 40))
    return _rotate(rng, streaks, height, width, wave)


def tiles(rng: np.random.Generator, height: int, width: int) -> Texture:
    """Return a rotated grid of cells of random brightness with joints, similar to bricks, windows or cloth."""
    rows, columns = (int(4 * 8 ** rng.random()) for _ in range(2))
    side = height + width
    cells = rng.integers(0, 256, (side // rows + 1, side // columns + 1), dtype=np.uint8)
    divisor, base = int(rng.integers(1, 5)), int(rng.integers(0, 64))
    cells = cells // divisor + np.minimum(base, 255 - cells // divisor)  # clipped at 255
    wall = np.repeat(np.repeat(cells, rows, axis=0), columns, axis=1)
    joint, joint_value = int(rng.integers(0, max(2, min(rows, columns) // 2))), int(rng.integers(0, 256))
    for i in range(joint):
        wall[i::rows] = joint_value
        wall[:, i::columns] = joint_value
    return _rotate(rng, wall, height, width)


def spots(rng: np.random.Generator, height: int, width: int) -> Texture:
    """Return light and dark patches with sharp edges, from 2 pixels up, similar to foliage or gravel."""
    noise = fractal_noise(rng, height, width, finest=int(rng.integers(2, 8)), slope=rng.uniform(-0.5, 0.7))
    return np.clip((noise + int(rng.integers(-40, 41))) * int(rng.integers(2, 12)), -128, 127).astype(np.int32)


TEXTURES: tuple[Callable[[np.random.Generator, int, int], Texture], ...] = rough, fur, tiles, spots
"""Fine textures, drawn with equal probability."""


def _rotate(
    rng: np.random.Generator,
    field: npt.NDArray[np.uint8],
    height: int,
    width: int,
    wave: Texture | None = None,
) -> Texture:
    """Return a part of `field`, rotated by a random angle and shifted by `wave`, in 1/32 pixel.

    The sides of `field` are at least height + width.
    """
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = round(np.cos(angle) * 2**15), round(np.sin(angle) * 2**15)
    x = np.arange(width) - width // 2
    y = (np.arange(height) - height // 2)[:, None]
    across, down = ((cos * x + sin * y) >> 10) + 16 * field.shape[1], ((cos * y - sin * x) >> 10) + 16 * field.shape[0]
    if wave is not None:
        down = down + wave
    whole = np.stack([across >> 5, down >> 5], axis=-1).astype(np.int16)
    part = ((down & 31) << 5 | (across & 31)).astype(np.uint16)
    return np.asarray(cv2.remap(field, whole, part, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.int32) - 128
