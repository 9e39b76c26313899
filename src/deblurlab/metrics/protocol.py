"""Protocols: which metrics, of what."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import torch
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.metrics.alignment import aligned
from deblurlab.metrics.levels import Quantise, comparable, luma
from deblurlab.metrics.perceptual import dists, lpips
from deblurlab.metrics.psnr import psnr_of_levels
from deblurlab.metrics.sharpness import sharpness
from deblurlab.metrics.ssim import ssim_matlab_rgb, ssim_of_levels

Metric = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(restored, sharp, mask): levels `(1, 3, H, W)`, and `(1, 1, H, W)` or None -> `(1,)`."""

METRICS: dict[str, Metric] = {
    "psnr": psnr_of_levels,
    "ssim": ssim_of_levels,
    "ssim_matlab_rgb": lambda x, y, _: ssim_matlab_rgb(x, y),
    "psnr_y": lambda x, y, mask: psnr_of_levels(luma(x), luma(y), mask),
    "ssim_y": lambda x, y, mask: ssim_of_levels(luma(x), luma(y), mask),
    "lpips_alex": lambda x, y, _: lpips(x, y, "alex"),
    "lpips_vgg": lambda x, y, _: lpips(x, y, "vgg"),
    "dists": lambda x, y, _: dists(x, y),
    "sharpness": lambda x, y, _: sharpness(x),
}
_MEANING = {
    "psnr": "RGB, in dB",
    "ssim": "per channel, Gaussian window 11x11 of sigma 1.5, valid area",
    "ssim_matlab_rgb": "RGB as a volume, Gaussian window 11x11x11 of sigma 1.5, borders replicated",
    "psnr_y": "Y of BT.601 (16..235), in dB",
    "ssim_y": "Y of BT.601 (16..235), Gaussian window 11x11 of sigma 1.5, valid area",
    "lpips_alex": "LPIPS 0.1 on AlexNet; lower is better",
    "lpips_vgg": "LPIPS 0.1 on VGG16; lower is better",
    "dists": "DISTS on VGG16; lower is better",
    "sharpness": "variance of the Laplacian of Y of BT.601 (16..235); knows no sharp image, and noise raises it too",
}
LOWER_IS_BETTER = frozenset({"lpips_alex", "lpips_vgg", "dists", "kid"})
NO_REFERENCE = frozenset({"sharpness"})
"""Metrics that look at the restored image alone."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How restored images are measured.

    Args:
        metrics: Names in `METRICS`.
        quantise: What becomes of the restored image's values on their way to 8 bits: "round", "truncate" or "none".
        border: Pixels left out on every side.
        align: Bring the restored image onto the sharp one first (see `aligned`).
        note: What of a published protocol this doesn't reproduce.

    Raises:
        UserError: A setting is unknown, or a metric can't be combined with alignment.
    """

    metrics: tuple[str, ...] = ("psnr", "ssim", "ssim_matlab_rgb")
    quantise: Quantise = "round"
    border: int = 0
    align: bool = False
    note: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(self.metrics))
        if unknown := [name for name in self.metrics if name not in METRICS]:
            raise UserError(f"protocol.metrics: there is no {unknown[0]}; known: {', '.join(METRICS)}")
        if self.quantise not in get_args(Quantise):
            raise UserError(f"protocol.quantise={self.quantise} is unknown: {', '.join(get_args(Quantise))}")
        if not self.metrics:
            raise UserError("protocol.metrics is empty: nothing would be measured")
        if not isinstance(self.border, int) or self.border < 0:
            raise UserError(f"protocol.border={self.border} must be a whole number of pixels, at least 0")
        if self.align and (unmasked := set(self.metrics) - {"psnr", "ssim", "psnr_y", "ssim_y"}):
            raise UserError(f"protocol.align=true leaves parts of the image out, which {min(unmasked)} can't")

    def describe(self) -> dict[str, Any]:
        """In words, to be stored beside every number."""
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
        return words | {name: _MEANING[name] for name in self.metrics}

    @property
    def unavailable(self) -> dict[str, str]:
        """Metrics whose pretrained weights can't be had, and what to place where."""
        return {name: why for name in self.metrics if (why := _missing(name)) is not None}

    def measure(self, restored: Tensor, sharp: list[Tensor]) -> dict[str, float]:
        """The metrics of a restored image, `(3, H, W)` in [0, 1], against one or more sharp ones; the best counts.
        Without any, those that need none.

        Raises:
            ValueError: Shapes differ, the restored image holds NaN, or is too small.
        """
        if not torch.isfinite(restored).all():
            raise ValueError("the restored image holds NaN or infinity")
        if 2 * self.border >= min(restored.shape[-2:]):
            raise ValueError(f"nothing is left of {tuple(restored.shape)} without a border of {self.border}")
        names = [name for name in self.metrics if _missing(name) is None and (sharp or name in NO_REFERENCE)]
        found: dict[str, float] = {}
        for reference in sharp or [restored]:
            x, y = comparable(restored[None], reference[None], self.quantise)
            if self.border:
                inside = slice(self.border, -self.border)
                x, y = x[..., inside, inside], y[..., inside, inside]
            mask = None
            if self.align:
                x, mask = aligned(x, y)
            for name in names:
                value = METRICS[name](x, y, mask).item()
                if value != value:
                    raise ValueError(f"{name} is not a number")
                best = min if name in LOWER_IS_BETTER else max
                found[name] = best(found.get(name, value), value)
        return found


@cache
def _missing(name: str) -> str | None:
    """Why a metric can't be computed here; None if it can."""
    if not name.startswith(("lpips", "dists")):
        return None
    black = torch.zeros(1, 3, 64, 64)
    try:
        METRICS[name](black, black, None)
    except UserError as error:
        return str(error)
    return None
