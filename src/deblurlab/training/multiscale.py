"""Generators with outputs at several scales."""

import torch.nn.functional as F
from torch import Tensor, nn


def scales(output: Tensor | list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
    """Return a generator's output as a list of scales, coarse to fine."""
    return list(output) if isinstance(output, (list, tuple)) else [output]


def multiscale_loss(term: nn.Module, images: list[Tensor], target: Tensor) -> Tensor:
    """Return a loss term at the finest scale, or its sum over all scales if the term declares `scales = "all"`.

    Args:
        term: Loss term, called with an image and a target of its size.
        images: `(B, 3, H, W)` each, coarse to fine.
        target: `(B, 3, H, W)` at the finest scale; coarser targets are area means.
    """
    selected = images if getattr(term, "scales", "finest") == "all" else images[-1:]
    return sum((term(image, _resize(target, image)) for image in selected), start=0.0)  # type: ignore[return-value]


def _resize(target: Tensor, image: Tensor) -> Tensor:
    size = image.shape[-2:]
    return target if target.shape[-2:] == size else F.interpolate(target, size, mode="area")
