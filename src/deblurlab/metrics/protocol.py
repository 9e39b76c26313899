"""Protocols: which metrics are computed, and on which pixels and values."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.metrics.alignment import align_to_reference
from deblurlab.metrics.levels import Quantise, level_pair, luma
from deblurlab.metrics.names import DESCRIPTIONS, LOWER_IS_BETTER, NO_REFERENCE
from deblurlab.metrics.psnr import psnr_of_levels
from deblurlab.metrics.sharpness import sharpness
from deblurlab.metrics.ssim import ssim_matlab_rgb, ssim_of_levels

MetricFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Function of restored and sharp levels `(1, 3, H, W)` and a mask `(1, 1, H, W)` or None; returns `(1,)`."""

METRICS: dict[str, MetricFunction] = {
    "psnr": psnr_of_levels,
    "ssim": ssim_of_levels,
    "ssim_matlab_rgb": lambda x, y, _: ssim_matlab_rgb(x, y),
    "psnr_y": lambda x, y, mask: psnr_of_levels(luma(x), luma(y), mask),
    "ssim_y": lambda x, y, mask: ssim_of_levels(luma(x), luma(y), mask),
    "lpips_alex": lambda x, y, _: _lpips(x, y, "alex"),
    "lpips_vgg": lambda x, y, _: _lpips(x, y, "vgg"),
    "dists": lambda x, y, _: _dists(x, y),
    "sharpness": lambda x, y, _: sharpness(x),
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Protocol of the measurement of restored images.

    Args:
        metrics: Names in `METRICS`.
        quantise: Conversion of the restored image to 8 bits: "round", "truncate" or "none".
        border: Pixels that are cropped on every side before measuring.
        align: Whether to align the restored image with the reference first (see `align_to_reference`).
        note: Differences from the published protocol that this one reproduces.

    Raises:
        UserError: A setting is unknown, or a metric doesn't support alignment.

    Example:
        >>> protocol = Protocol(metrics=("psnr",), border=2)
        >>> protocol.measure(torch.zeros(3, 16, 16), [torch.ones(3, 16, 16)])
        {'psnr': 0.0}
    """

    metrics: tuple[str, ...] = ("psnr", "ssim", "ssim_matlab_rgb")
    quantise: Quantise = "round"
    border: int = 0
    align: bool = False
    note: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(self.metrics))
        if unknown := [name for name in self.metrics if name not in METRICS]:
            raise UserError(f"protocol.metrics: unknown metric {unknown[0]}; known: {', '.join(METRICS)}")
        if self.quantise not in get_args(Quantise):
            raise UserError(f"protocol.quantise={self.quantise} is unknown: {', '.join(get_args(Quantise))}")
        if not self.metrics:
            raise UserError(f"protocol.metrics is empty: name at least one of {', '.join(METRICS)}")
        if not isinstance(self.border, int) or self.border < 0:
            raise UserError(f"protocol.border={self.border} must be a whole number of pixels, at least 0")
        if self.align and (unmasked := set(self.metrics) - {"psnr", "ssim", "psnr_y", "ssim_y"}):
            raise UserError(
                f"protocol.align=true masks parts of the image, which {min(unmasked)} doesn't support: remove it from "
                f"protocol.metrics"
            )

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
        return words | {name: DESCRIPTIONS[name] for name in self.metrics}

    @property
    def unavailable(self) -> dict[str, str]:
        """Metrics whose pretrained weights are unavailable, and a message that says where to store them."""
        return {name: reason for name in self.metrics if (reason := _unavailable_reason(name)) is not None}

    def measure(self, restored: Tensor, sharp: list[Tensor]) -> dict[str, float]:
        """Return the available metrics of a restored image by name.

        With several references, each metric's best value is returned. With none, the no-reference metrics are returned.

        Args:
            restored: `(3, H, W)` in [0, 1]; values outside are clamped.
            sharp: References of the same shape and range.

        Raises:
            ValueError: Shapes differ, the restored image has NaN or infinite values, or is too small.
        """
        if not torch.isfinite(restored).all():
            raise ValueError("the restored image holds NaN or infinity")
        if 2 * self.border >= min(restored.shape[-2:]):
            height, width = restored.shape[-2:]
            raise ValueError(f"protocol.border={self.border} leaves no pixels of an image of {width}x{height}")
        names = [name for name in self.metrics if _unavailable_reason(name) is None and (sharp or name in NO_REFERENCE)]
        best_values: dict[str, float] = {}
        for reference in sharp or [restored]:
            x, y = level_pair(restored[None], reference[None], self.quantise)
            if self.border:
                inside = slice(self.border, -self.border)
                x, y = x[..., inside, inside], y[..., inside, inside]
            mask = None
            if self.align:
                x, mask = align_to_reference(x, y)
            for name in names:
                value = METRICS[name](x, y, mask).item()
                if value != value:
                    raise ValueError(f"{name} is not a number")
                best = min if name in LOWER_IS_BETTER else max
                best_values[name] = best(best_values.get(name, value), value)
        return best_values


@cache
def _unavailable_reason(name: str) -> str | None:
    """Return why a metric can't be computed, None if it can."""
    if not name.startswith(("lpips", "dists")):
        return None
    black = torch.zeros(1, 3, 64, 64)
    try:
        METRICS[name](black, black, None)
    except UserError as error:
        return str(error)
    return None


# The packages lpips and torchvision take a second to import, so only these metrics import them.
def _lpips(restored: Tensor, sharp: Tensor, net: Literal["alex", "vgg"]) -> Tensor:
    from deblurlab.metrics.perceptual import lpips

    return lpips(restored, sharp, net)


def _dists(restored: Tensor, sharp: Tensor) -> Tensor:
    from deblurlab.metrics.perceptual import dists

    return dists(restored, sharp)
