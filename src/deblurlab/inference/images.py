"""Conversion between tensors and the image types of the public API (path, PIL, NumPy, tensor)."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.media.large_images import open_image
from deblurlab.media.pixels import Orientation, full_scale, round_to

_ROUNDING = 1e-3


class Unpacked(NamedTuple):
    """An image as a tensor, and the function that converts a restored tensor back to the image's type."""

    images: Tensor
    """`(N, 3, H, W)` float in [0, 1]; N = 1 unless the image is a batch."""
    pack: Callable[[Tensor], Any]
    dtype: np.dtype[Any] = np.dtype(np.float32)
    """Type of the image's values."""


def unpack(image: Any) -> Unpacked:
    """Convert a path, `PIL.Image`, array or tensor to a tensor; see `Restorer.restore`.

    Raises:
        UserError: The image has another type, or is a file that can't be read.
    """
    if 0 in getattr(image, "shape", ()):
        raise _unsupported(image)
    if isinstance(image, (str, Path)):
        opened = open_image(Path(image))
        rows = Orientation.of_exif(opened.metadata.orientation).apply(opened.read(opened.height))
        return unpack(rows[..., 0] if opened.bands == 1 else rows)
    if isinstance(image, Image.Image):
        return _unpack_pil(image)
    if isinstance(image, Tensor) and image.ndim in (3, 4) and image.is_floating_point() and image.shape[-3] == 3:
        _check_range(image, f"a tensor {tuple(image.shape)}")
        images = image.detach().float().cpu().reshape(-1, *image.shape[-3:])
        return Unpacked(images, lambda restored: restored.clamp(0, 1).to(image).view(image.shape))
    if isinstance(image, np.ndarray) and image.ndim in (2, 3, 4) and _is_supported(image.dtype):
        if image.dtype.kind == "f":
            _check_range(image, f"an array {image.shape} of {image.dtype}")
        return _unpack_array(image if image.ndim > 2 else image[..., None], image.shape)
    raise _unsupported(image)


def _unpack_pil(image: Image.Image) -> Unpacked:
    """Convert a `PIL.Image`, turned upright. The result has the same metadata, without the orientation."""
    image = ImageOps.exif_transpose(image)
    if "transparency" in image.info and image.mode in ("L", "RGB"):  # one colour is transparent
        image = image.convert(f"{image.mode}A")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise UserError(f"a PIL.Image of mode {image.mode} can't be restored: convert it to RGB or L")
    array = unpack(np.asarray(image))

    def pack(restored: Tensor) -> Image.Image:
        packed = Image.fromarray(array.pack(restored))
        packed.info = {key: value for key, value in image.info.items() if key != "transparency"}
        return packed

    return array._replace(pack=pack)


def _check_range(image: Any, name: str) -> None:
    """Raise UserError if floats are outside of [0, 1], with a margin for rounding errors."""
    low, high = float(image.min()), float(image.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UserError(f"{name} has values that aren't finite: replace them")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        scale = "divide it by 255" if low >= 0 and 2 < high <= 255 else "scale or clip it"
        raise UserError(f"{name} has values from {low:g} to {high:g}, floats must be in [0, 1]: {scale}")


def _is_supported(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype in (np.uint8, np.uint16)


def _unsupported(image: Any) -> UserError:
    found = f"{tuple(image.shape)} {image.dtype}" if hasattr(image, "shape") else type(image).__name__
    return UserError(
        f"{found} is not an image: give a path, a PIL.Image, an array (H, W, 3) of uint8, uint16 or floats in [0, 1], "
        f"or a float tensor (3, H, W)"
    )


def _unpack_array(image: np.ndarray, shape: tuple[int, ...]) -> Unpacked:
    """Convert `(H, W, C)` or `(N, H, W, C)`: grey (C = 1) or RGB (C = 3), or either with alpha (C = 2, 4).

    Args:
        image: The array.
        shape: Shape of the result of `pack`.

    Raises:
        UserError: The array has another number of channels.
    """
    channels = image.shape[-1]
    if not 1 <= channels <= 4:
        raise UserError(
            f"an array {shape} has {channels} channels: give 1 (grey) or 3 (RGB), and optionally an alpha channel"
        )
    colours, scale = channels - (channels in (2, 4)), full_scale(image)
    images = torch.from_numpy(image[..., :colours].astype(np.float32)).reshape(-1, *image.shape[-3:-1], colours)
    images = images.permute(0, 3, 1, 2) / scale

    def pack(restored: Tensor) -> np.ndarray:
        restored = restored.clamp(0, 1)
        restored = restored.mean(1, keepdim=True) if colours == 1 else restored
        values = (restored * scale).permute(0, 2, 3, 1).numpy()
        rounded = round_to(values, image.dtype).reshape(*image.shape[:-1], colours)
        return np.concatenate([rounded, image[..., colours:]], axis=-1).reshape(shape)

    return Unpacked(images.expand(-1, 3, -1, -1), pack, image.dtype)
