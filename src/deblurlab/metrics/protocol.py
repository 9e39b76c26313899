"""Protocols: on which pixels and values metrics are computed."""

from dataclasses import dataclass
from typing import Any, get_args

import torch
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.metrics.alignment import align_to_reference
from deblurlab.metrics.levels import Quantise, level_pair


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Protocol of a measurement: what happens to the images before a metric compares them.

    Args:
        quantise: Conversion of the restored image to 8 bits: "round", "truncate" or "none".
        border: Pixels that are cropped on every side before measuring.
        align: Whether to align the restored image with the reference first (see `align_to_reference`).
        note: Differences from the published protocol that this one reproduces.

    Raises:
        UserError: A setting is unknown.

    Example:
        >>> restored, sharp, mask = Protocol(border=2).apply(torch.zeros(3, 16, 16), torch.ones(3, 16, 16))
        >>> tuple(restored.shape), mask
        ((1, 3, 12, 12), None)
    """

    quantise: Quantise = "round"
    border: int = 0
    align: bool = False
    note: str | None = None

    def __post_init__(self) -> None:
        if self.quantise not in get_args(Quantise):
            raise UserError(f"protocol.quantise={self.quantise} is unknown: {', '.join(get_args(Quantise))}")
        if not isinstance(self.border, int) or self.border < 0:
            raise UserError(f"protocol.border={self.border} must be a whole number of pixels, at least 0")

    def describe(self) -> dict[str, Any]:
        """Return a description in words, which is stored beside every number."""
        quantised = {"round": "rounded to 8 bits", "truncate": "truncated to 8 bits", "none": "not made 8-bit"}
        words: dict[str, Any] = {
            "range": f"clamped to [0, 1], {quantised[self.quantise]}",
            "border": self.border,
            "mean": "over images, of each image's value",
        }
        if self.align:
            words["aligned"] = "brightness by least squares, homography by ECC, masked"
        if self.note:
            words["note"] = self.note
        return words

    def apply(self, restored: Tensor, sharp: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return both images as metrics see them, and a mask of the pixels to measure, if some are left out.

        Args:
            restored: `(3, H, W)` in [0, 1]; values outside are clamped.
            sharp: The reference, of the same shape and range; it is rounded, because it comes from an 8-bit file.

        Returns:
            Images `(1, 3, h, w)` in [0, 1], float64, and None or a mask `(1, 1, h, w)`: 1 for pixels to measure.

        Raises:
            ValueError: Shapes differ, the restored image has NaN or infinite values, or nothing of it is left.
        """
        if not torch.isfinite(restored).all():
            raise ValueError("the restored image holds NaN or infinity")
        if 2 * self.border >= min(restored.shape[-2:]):
            height, width = restored.shape[-2:]
            raise ValueError(f"protocol.border={self.border} leaves no pixels of an image of {width}x{height}")
        x, y = level_pair(restored[None], sharp[None], self.quantise)
        if self.border:
            inside = slice(self.border, -self.border)
            x, y = x[..., inside, inside], y[..., inside, inside]
        mask = None
        if self.align:
            x, mask = align_to_reference(x, y)
        return x / 255, y / 255, mask
