"""Parameters of one synthetic pair."""

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from deblurlab.synthesis.exposure import disc_weights
from deblurlab.synthesis.motion import Trajectory, trajectory_psf

BlurKey = Literal["blur", "blur_gamma"]


@dataclass(frozen=True, kw_only=True)
class SynthesisParameters:
    """Parameters of one synthetic pair, stored as JSON beside its images (folder `recipe`)."""

    blur_length: float
    """Maximum distance between two points of the camera's trajectory, in pixels."""
    rotation: float
    """Range of the camera's rotation about the optical axis, in degrees."""
    objects: int
    """Number of layers in front of the background; they move independently unless the whole scene is static."""
    softness: float
    """Standard deviation of the Gaussian blur of the whole scene, in both images, in pixels."""
    read_noise: float
    shot_noise: float
    jpeg_quality: int | None
    blur_key: BlurKey = "blur_gamma"
    """Values that were averaged, see `Synthesis.blur_key`."""
    defocus: float = 0.0
    """Radius of the defocus disc of the blurred image, in pixels."""
    highlights: float = 0.0
    """Light beyond white of the brightest areas, in multiples of white."""
    psf: list[list[float]] | None = None
    """Psf of the background at the image's centre: rows, sum 1. It is that of the whole image if the camera doesn't
    rotate and there are no objects."""


def add_psf(parameters: SynthesisParameters, trajectory: Trajectory) -> SynthesisParameters:
    """Return the parameters with the psf of a trajectory, ignoring its rotation, and of the defocus."""
    side = 2 * int(np.ceil(np.abs(trajectory[:, :2]).max())) + 3
    kernel = trajectory_psf(trajectory * [1, 1, 0], side)
    if parameters.defocus:
        weights = disc_weights(parameters.defocus)
        disc = weights / weights.sum()
        padded = np.pad(kernel, int(np.ceil(parameters.defocus)))
        kernel = np.asarray(cv2.filter2D(padded, -1, disc, borderType=cv2.BORDER_CONSTANT), np.float64)
    return replace(parameters, psf=kernel.tolist())
