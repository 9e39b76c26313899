"""The sensor: noise in linear light, the camera's response, quantisation, JPEG. Integers throughout."""

from statistics import NormalDist

import cv2
import numpy as np
import numpy.typing as npt

from deblurlab.synthesis.exposure import LINEAR_MAX, LINEAR_TO_SRGB, Linear
from deblurlab.synthesis.scenes import Image

_TABLE = 1 << 12
NORMAL = np.array([round(1024 * NormalDist().inv_cdf((i + 0.5) / _TABLE)) for i in range(_TABLE)], np.int32)
"""Quantiles of the normal distribution in 1/1024."""


def develop(light: Linear) -> Image:
    """Linear light to sRGB, `(H, W, 3)` both."""
    return LINEAR_TO_SRGB[light]


def add_noise(rng: np.random.Generator, light: Linear, *, read: float, shot: float) -> Linear:
    """Noise of a sensor: standard deviation `sqrt(read^2 + shot^2 * signal)`, where signal and result are in [0, 1].

    Read and shot noise as in Foi et al., "Practical Poissonian-Gaussian Noise Modeling" (IEEE TIP 2008, eq. 3);
    both parts are normal here.
    """
    signal = np.arange(LINEAR_MAX + 1) / LINEAR_MAX
    deviation = np.rint(16 * LINEAR_MAX * np.sqrt(read**2 + shot**2 * signal)).astype(np.int32)
    normal: npt.NDArray[np.int32] = NORMAL[rng.integers(0, _TABLE, light.shape, dtype=np.uint16)]
    noise = (deviation[light].astype(np.int64) * normal) >> 14  # 16 * 1024
    return np.clip(light + noise, 0, LINEAR_MAX).astype(np.uint16)


def jpeg(image: Image, quality: int) -> Image:
    """The image after a JPEG file of this quality (1..100)."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)
