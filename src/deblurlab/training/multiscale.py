"""Generators with outputs at several scales."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.errors import UserError
from deblurlab.losses.calls import Call


def scales(output: Tensor | list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
    """Return a generator's output as a list of scales, coarse to fine."""
    return list(output) if isinstance(output, (list, tuple)) else [output]


def multiscale_loss(term: nn.Module, call: Call, images: list[Tensor], values: Mapping[str, Any]) -> Tensor:
    """Return a loss term at the finest scale, or its sum over all scales if the term declares `scales = "all"`.

    Args:
        term: Loss term.
        call: Call of the term.
        images: Restored images at all scales, coarse to fine.
        values: What the term can ask for besides; images `(B, 3, H, W)` at the finest scale. Coarser ones are area
            means.

    Raises:
        UserError: The restored images differ from the sharp ones in more than the size of a scale.
    """
    selected = images if getattr(term, "scales", "finest") == "all" else images[-1:]
    sized = {"sharp", "blurred"} & call.names
    total: Tensor | float = 0.0
    for image in selected:
        resized = {name: _resize(values[name], image) for name in sized}
        if "sharp" in resized and resized["sharp"].shape != image.shape:
            raise UserError(
                f"{call.name} compares restored images of shape {tuple(image.shape)} with sharp ones of shape "
                f"{tuple(values['sharp'].shape)}: the model must return images of the shape of its input"
            )
        total = total + call({**values, "restored": image, **resized})
    return total  # type: ignore[return-value]


def _resize(target: Tensor, image: Tensor) -> Tensor:
    size = image.shape[-2:]
    return target if target.shape[-2:] == size else F.interpolate(target, size, mode="area")
