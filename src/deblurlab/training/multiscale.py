"""Generators with outputs at several scales."""

from collections.abc import Mapping
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from deblurlab.errors import UserError
from deblurlab.losses.calls import Call
from deblurlab.models.padding import pad_symmetric

TargetScales = Literal["area", "bilinear", "gaussian", "nearest"]
"""Downsampling of the images that a coarse restored image is compared with, see `downsample`."""


def scales(output: Tensor | list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
    """Return a generator's output as a list of scales, coarse to fine."""
    return list(output) if isinstance(output, (list, tuple)) else [output]


def multiscale_loss(
    term: nn.Module,
    call: Call,
    images: list[Tensor],
    values: Mapping[str, Any],
    target_scales: TargetScales = "area",
) -> Tensor:
    """Return a loss term at the finest scale, or its sum over all scales if the term declares `scales = "all"`.

    Args:
        term: Loss term.
        call: Call of the term.
        images: Restored images at all scales, coarse to fine.
        values: What the term can ask for besides; images `(B, 3, H, W)` at the finest scale.
        target_scales: How these images are downsampled to the coarser scales.

    Raises:
        UserError: The restored images differ from the sharp ones in more than the size of a scale.
    """
    selected = images if getattr(term, "scales", "finest") == "all" else images[-1:]
    sized = {"sharp", "blurred"} & call.names
    total: Tensor | float = 0.0
    for image in selected:
        size = image.shape[-2], image.shape[-1]
        resized = {name: downsample(values[name], size, target_scales) for name in sized}
        if "sharp" in resized and resized["sharp"].shape != image.shape:
            raise UserError(
                f"{call.name} compares restored images of shape {tuple(image.shape)} with sharp ones of shape "
                f"{tuple(values['sharp'].shape)}: the model must return images of the shape of its input"
            )
        total = total + call({**values, "restored": image, **resized})
    return total  # type: ignore[return-value]


def downsample(images: Tensor, size: tuple[int, int], method: TargetScales) -> Tensor:
    """Downsample a batch `(B, C, H, W)` to a size; images of that size are returned unchanged.

    Methods:
        area: Means over the pixels that a coarse pixel covers.
        bilinear: Bilinear interpolation between the pixel centres without smoothing, as in MIMO-UNet: at half size the
            means of 2x2 pixels, at a quarter those of the middle 2x2 of 4x4 pixels.
        gaussian: Gaussian pyramid, as in DeepDeblur's data loader: each level is smoothed with a Gaussian of sigma 2/3
            and halved by bilinear interpolation. Borders are mirrored with their outermost pixels repeated.
        nearest: The first pixel of those that a coarse pixel covers. TensorFlow 1's bilinear resizing, which SRN uses,
            does the same for integer factors.

    Raises:
        UserError: The method is "gaussian" and the size isn't reached by halving, odd sides being rounded up.

    Example:
        >>> import torch
        >>> row = torch.tensor([0.0, 1.0, 2.0, 9.0]).expand(1, 1, 4, 4)
        >>> [downsample(row, (1, 1), method).item() for method in ("area", "bilinear", "nearest")]
        [3.0, 1.5, 0.0]
    """
    if images.shape[-2:] == size:
        return images
    match method:
        case "area" | "nearest":
            return F.interpolate(images, size, mode=method)
        case "bilinear":
            return F.interpolate(images, size, mode="bilinear", align_corners=False)
        case "gaussian":
            return _pyramid_level(images, size)


def _pyramid_level(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the level of a size of the images' Gaussian pyramid."""
    level = images
    while (shape := (level.shape[-2], level.shape[-1])) != size:
        if shape[0] < size[0] or shape[1] < size[1]:
            raise UserError(
                f"module.target_scales=gaussian halves images of {images.shape[-2]}x{images.shape[-1]} pixels and "
                f"doesn't reach the {size[0]}x{size[1]} of a restored image: choose area, bilinear or nearest"
            )
        half = -(-shape[0] // 2), -(-shape[1] // 2)
        level = F.interpolate(_smooth(level), half, mode="bilinear", align_corners=False)
    return level


def _smooth(images: Tensor, *, sigma: float = 2 / 3, radius: int = 3) -> Tensor:
    """Convolve images with a Gaussian; borders are mirrored with their outermost pixels repeated."""
    blurred = gaussian_blur(pad_symmetric(images, radius), [2 * radius + 1] * 2, [sigma] * 2)
    return blurred[..., radius:-radius, radius:-radius]
