"""Trajectories of the camera and of objects during one exposure."""

import numpy as np
import numpy.typing as npt

Trajectory = npt.NDArray[np.float64]
"""`(T, 3)`: x and y in pixels and rotation in radians at T equidistant times; the mean of every column is 0."""


def camera_trajectory(rng: np.random.Generator, steps: int, *, length: float, rotation: float = 0.0) -> Trajectory:
    """Draw the trajectory of a hand-held camera.

    A particle with inertia is pulled back to its start, pushed by random forces and sometimes by large impulses: the
    model of Boracchi and Foi, "Modeling the Performance of Image Restoration from Motion Blur" (IEEE TIP 2012, section
    IV), as DeblurGAN uses it. Here the trajectory is scaled to a given extent, a rotation of the same kind is added,
    and both are centred on their mean, which aligns the blurred with the sharp image.

    Args:
        rng: Random generator.
        steps: Number of times T.
        length: Maximum distance between two points in pixels.
        rotation: Range of the rotation in radians.
    """
    position = np.zeros((steps, 3))
    anxiety = 0.3 * rng.random()
    pull, impulse_rate = 0.7 * rng.random(), 0.2 * rng.random()
    angle = rng.uniform(0, 2 * np.pi)
    velocity = np.array([np.cos(angle), np.sin(angle), rng.uniform(-1, 1)])
    forces = rng.uniform(-1.7, 1.7, (steps, 3))
    impulse = rng.random(steps) < impulse_rate * anxiety
    for i in range(1, steps):
        change = anxiety * (forces[i] - pull * position[i - 1])
        if impulse[i]:
            change = change - 2 * velocity * (0.5 + rng.random())
        velocity = velocity + change
        velocity = velocity / np.sqrt((velocity[:2] ** 2).sum())
        position[i] = position[i - 1] + velocity / steps
    return _scale(position, length, rotation)


def object_trajectory(rng: np.random.Generator, steps: int, *, length: float, rotation: float = 0.0) -> Trajectory:
    """Draw a nearly straight trajectory with slight curvature and acceleration; arguments as `camera_trajectory`."""
    t = np.linspace(-0.5, 0.5, steps)
    angle = rng.uniform(0, 2 * np.pi)
    curvature, acceleration, spin = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(-1, 1)
    along, across = t + acceleration * t**2, curvature * t**2
    x = np.cos(angle) * along - np.sin(angle) * across
    y = np.sin(angle) * along + np.cos(angle) * across
    return _scale(np.stack([x, y, spin * t], axis=-1), length, rotation)


def extent(trajectory: Trajectory) -> float:
    """Return the maximum distance between two points in pixels, which is called blur length in this project."""
    points = trajectory[:, :2]
    return float(np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1)).max())


def required_margin(trajectories: list[Trajectory], height: int, width: int) -> int:
    """Return how many pixels beyond a frame of this size are visible along these trajectories."""
    distances = [np.abs(t[:, :2]).max() + np.abs(t[:, 2]).max() * (height + width) / 2 for t in trajectories]
    return int(np.ceil(max(distances))) + 2


def trajectory_psf(trajectory: Trajectory, size: int) -> npt.NDArray[np.float64]:
    """Return the psf of a trajectory without rotation: `(size, size)`, sum 1, bilinear in space.

    Raises:
        ValueError: The trajectory rotates, or it leaves the kernel.
    """
    if np.any(trajectory[:, 2] != 0):
        raise ValueError("a trajectory that rotates has no psf: the blur differs from pixel to pixel")
    kernel = np.zeros((size, size))
    centre = (size - 1) / 2
    for x, y in centre + trajectory[:, :2]:
        column, row = int(np.floor(x)), int(np.floor(y))
        if not (0 <= column < size - 1 and 0 <= row < size - 1):
            raise ValueError(
                f"the trajectory leaves the kernel of {size} pixels: its extent is {extent(trajectory):.1f} pixels"
            )
        fx, fy = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - fy, fy], [1 - fx, fx])
    return kernel / len(trajectory)


def _scale(trajectory: Trajectory, length: float, rotation: float) -> Trajectory:
    """Centre a trajectory and scale it to an extent and a range of rotation."""
    trajectory = trajectory - trajectory.mean(axis=0)
    size, rotation_range = extent(trajectory), np.ptp(trajectory[:, 2])
    trajectory[:, :2] *= length / size if size > 0 else 0.0
    trajectory[:, 2] *= rotation / rotation_range if rotation_range > 0 else 0.0
    return trajectory
