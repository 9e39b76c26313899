"""Paths of the camera and of objects during one exposure."""

import numpy as np
import numpy.typing as npt

Path = npt.NDArray[np.float64]
"""(N, 3): x and y in pixels and rotation in radians at N equal steps of time; the mean of every column is 0."""


def shake(rng: np.random.Generator, steps: int, *, length: float, rotation: float = 0.0) -> Path:
    """A hand-held camera: a particle with inertia, drawn back to its start, pushed at random, now and then jerked.

    The model of Boracchi and Foi, "Modeling the Performance of Image Restoration from Motion Blur" (IEEE TIP
    2012, section IV), as DeblurGAN uses it, here scaled so that the two farthest points of the path are `length` pixels
    apart, and with a rotation of the same kind whose largest swing is `rotation` radians.

    The path is centred on its mean: a pair of blurred and sharp is aligned as well as it can be.
    """
    place = np.zeros((steps, 3))
    anxiety = 0.3 * rng.random()
    pull, jerks = 0.7 * rng.random(), 0.2 * rng.random()
    angle = rng.uniform(0, 2 * np.pi)
    velocity = np.array([np.cos(angle), np.sin(angle), rng.uniform(-1, 1)])
    pushes = rng.uniform(-1.7, 1.7, (steps, 3))
    jerk = rng.random(steps) < jerks * anxiety
    for i in range(1, steps):
        change = anxiety * (pushes[i] - pull * place[i - 1])
        if jerk[i]:
            change = change - 2 * velocity * (0.5 + rng.random())
        velocity = velocity + change
        velocity = velocity / np.sqrt((velocity[:2] ** 2).sum())
        place[i] = place[i - 1] + velocity / steps
    return _scaled(place, length, rotation)


def drift(rng: np.random.Generator, steps: int, *, length: float, rotation: float = 0.0) -> Path:
    """An object on its way: nearly straight and even, slightly bent, slightly faster at one end; scaled as `shake`."""
    t = np.linspace(-0.5, 0.5, steps)
    angle = rng.uniform(0, 2 * np.pi)
    bend, hurry, spin = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(-1, 1)
    along, across = t + hurry * t**2, bend * t**2
    x = np.cos(angle) * along - np.sin(angle) * across
    y = np.sin(angle) * along + np.cos(angle) * across
    return _scaled(np.stack([x, y, spin * t], axis=-1), length, rotation)


def extent(path: Path) -> float:
    """The distance between the two farthest points of a path, in pixels: what this project calls the blur length."""
    points = path[:, :2]
    return float(np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)).max())


def reach(paths: list[Path], height: int, width: int) -> int:
    """How far beyond a frame of this size one sees along these paths, in pixels."""
    ways = [np.abs(path[:, :2]).max() + np.abs(path[:, 2]).max() * (height + width) / 2 for path in paths]
    return int(np.ceil(max(ways))) + 2


def _scaled(path: Path, length: float, rotation: float) -> Path:
    path = path - path.mean(axis=0)
    size, swing = extent(path), np.ptp(path[:, 2])
    path[:, :2] *= length / size if size > 0 else 0.0
    path[:, 2] *= rotation / swing if swing > 0 else 0.0
    return path


def psf(path: Path, size: int) -> npt.NDArray[np.float64]:
    """The blur kernel of a path without rotation: `(size, size)`, summing to 1, time spread bilinearly over pixels.

    Raises:
        ValueError: The path rotates, or leaves the kernel.
    """
    if np.any(path[:, 2] != 0):
        raise ValueError("a path that rotates blurs every pixel differently: it has no psf")
    kernel = np.zeros((size, size))
    centre = (size - 1) / 2
    for x, y in centre + path[:, :2]:
        column, row = int(np.floor(x)), int(np.floor(y))
        if not (0 <= column < size - 1 and 0 <= row < size - 1):
            raise ValueError(f"the path leaves a kernel of {size} pixels: it is {extent(path):.1f} pixels long")
        fx, fy = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return kernel / len(path)
