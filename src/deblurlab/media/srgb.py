"""Transfer function of sRGB (IEC 61966-2-1) and its inverse, in NumPy float64."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def srgb_to_linear(srgb: Array) -> Array:
    """Return linear light in [0, 1] of sRGB values in [0, 1].

    `s / 12.92` for `s <= 0.04045`, else `((s + 0.055) / 1.055) ** 2.4` (IEC 61966-2-1).
    """
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(linear: Array) -> Array:
    """Return sRGB values in [0, 1] of linear light in [0, 1].

    `12.92 * l` for `l <= 0.0031308`, else `1.055 * l ** (1 / 2.4) - 0.055` (IEC 61966-2-1).
    """
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, curve)
