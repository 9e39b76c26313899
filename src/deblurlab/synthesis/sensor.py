"""Sensor: noise in linear light, sRGB encoding, JPEG compression; integer arithmetic."""

from statistics import NormalDist

import cv2
import numpy as np
import numpy.typing as npt

from deblurlab.synthesis.exposure import LINEAR_MAX, LINEAR_TO_SRGB, LinearImage
from deblurlab.synthesis.scenes import Image

_TABLE_SIZE = 1 << 12
NORMAL = np.array([round(1024 * NormalDist().inv_cdf((i + 0.5) / _TABLE_SIZE)) for i in range(_TABLE_SIZE)], np.int32)
"""Quantiles of the standard normal distribution in units of 1/1024."""


def encode_srgb(light: LinearImage) -> Image:
    """Convert linear light to 8-bit sRGB, `(H, W, 3)`; light beyond white is clipped."""
    return LINEAR_TO_SRGB[np.minimum(light, LINEAR_MAX)]


def add_noise(rng: np.random.Generator, light: LinearImage, *, read: float, shot: float) -> LinearImage:
    """Add sensor noise of standard deviation `sqrt(read^2 + shot^2 * signal)`, for a signal in [0, 1]; clip at white.

    Read and shot noise of Foi et al., "Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image
    Raw-Data" (IEEE TIP 2008, equation 3), both approximated by a normal distribution.
    """
    signal = np.arange(LINEAR_MAX + 1) / LINEAR_MAX
    deviation = np.rint(16 * LINEAR_MAX * np.sqrt(read**2 + shot**2 * signal)).astype(np.int32)
    normal: npt.NDArray[np.int32] = NORMAL[rng.integers(0, _TABLE_SIZE, light.shape, dtype=np.uint16)]
    # Divide by the scales of `deviation` (16) and `NORMAL` (1024).
    noise = (deviation[np.minimum(light, LINEAR_MAX)].astype(np.int64) * normal) >> 14
    return np.clip(light + noise, 0, LINEAR_MAX).astype(np.uint16)


def compress_jpeg(image: Image, quality: int) -> Image:
    """Return the image after JPEG compression with a quality of 1..100."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
