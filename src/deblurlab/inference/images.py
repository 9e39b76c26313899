"""Pictures as people hold them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deblurlab.errors import UserError
from deblurlab.media.large_images import open_image
from deblurlab.media.pixels import full_scale, round_to


class Unpacked(NamedTuple):
    """A picture for a network, and how it becomes again what it was."""

    images: Tensor
    """`(N, 3, H, W)` float in [0, 1]; one image but for batches."""
    pack: Callable[[Tensor], Any]


def unpack(picture: Any) -> Unpacked:
    """A path, `PIL.Image`, array or tensor (see `Restorer.restore`).

    Raises:
        UserError: It is none of these, or a file that can't be read.
    """
    if 0 in getattr(picture, "shape", ()):
        return _refused(picture)
    if isinstance(picture, (str, Path)):
        opened = open_image(Path(picture))
        rows = opened.read(opened.height)
        return unpack(rows[..., 0] if opened.bands == 1 else rows)
    if isinstance(picture, Image.Image):
        if picture.mode not in ("L", "LA", "RGB", "RGBA"):
            raise UserError(f"a PIL.Image of mode {picture.mode} can't be restored: convert it to RGB or L")
        inside = unpack(np.asarray(picture))
        return Unpacked(inside.images, lambda restored: Image.fromarray(inside.pack(restored)))
    if (
        isinstance(picture, Tensor)
        and picture.ndim in (3, 4)
        and picture.is_floating_point()
        and picture.shape[-3] == 3
    ):
        images = picture.detach().float().cpu().reshape(-1, *picture.shape[-3:])
        return Unpacked(images, lambda restored: restored.clamp(0, 1).to(picture).view(picture.shape))
    if isinstance(picture, np.ndarray) and picture.ndim in (2, 3, 4) and _is_known(picture.dtype):
        return _array(picture if picture.ndim > 2 else picture[..., None], picture.shape)
    return _refused(picture)


def _is_known(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype in (np.uint8, np.uint16)


def _refused(picture: Any) -> Unpacked:
    about = f"{tuple(picture.shape)} {picture.dtype}" if hasattr(picture, "shape") else type(picture).__name__
    raise UserError(
        f"{about} is no picture: give a path, a PIL.Image, an array (H, W, 3) of uint8, uint16 or floats in [0, 1], or "
        f"a float tensor (3, H, W)"
    )


def _array(picture: np.ndarray, shape: tuple[int, ...]) -> Unpacked:
    """`(H, W, C)` or `(N, H, W, C)`, C = 1 to 4: grey or RGB, the last of 2 or 4 its transparency."""
    channels = picture.shape[-1]
    if not 1 <= channels <= 4:
        raise UserError(
            f"an array {shape} has {channels} channels: pictures have 1 (grey) or 3 (RGB), and transparency"
        )
    colours, scale = channels - (channels in (2, 4)), full_scale(picture)
    images = torch.from_numpy(picture[..., :colours].astype(np.float32)).reshape(-1, *picture.shape[-3:-1], colours)
    images = images.permute(0, 3, 1, 2) / scale

    def pack(restored: Tensor) -> np.ndarray:
        restored = restored.clamp(0, 1)
        restored = restored.mean(1, keepdim=True) if colours == 1 else restored
        values = (restored * scale).permute(0, 2, 3, 1).numpy()
        codes = round_to(values, picture.dtype).reshape(*picture.shape[:-1], colours)
        return np.concatenate([codes, picture[..., colours:]], axis=-1).reshape(shape)

    return Unpacked(images.expand(-1, 3, -1, -1), pack)
