"""Residual between two images, as an image."""

import numpy as np
import numpy.typing as npt


def residual_image(image: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return 128 + 4 (image - reference), clipped to [0, 255].

    Args:
        image: Image of shape (H, W, 3).
        reference: Image of the same shape.
    """
    return np.clip(128 + 4 * (image.astype(np.int16) - reference), 0, 255).astype(np.uint8)
