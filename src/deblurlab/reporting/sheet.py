"""Contact sheet of a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from deblurlab.datasets.frame_store import Reader
from deblurlab.datasets.listing import Item
from deblurlab.datasets.samples import read_checked
from deblurlab.media.images import write_png
from deblurlab.metrics import psnr
from deblurlab.reporting.residual import residual_image

_GAP, _TITLE = 6, 16


def write_sheet(path: Path, items: Sequence[Item], reader: Reader, *, width: int = 480) -> None:
    """Write a PNG with one row per pair: blurred, sharp and residual, see `residual_image`.

    Above each row are the pair's name, its size and the PSNR of the blurred image. The row of an image without a
    reference contains that image only.

    Args:
        path: PNG file to write.
        items: Pairs and single images.
        reader: Returns the image of a reference.
        width: Width of each image in the sheet, in pixels.

    Raises:
        UserError: An image cannot be read.
    """
    rows = [_row(item, reader, width) for item in items]
    write_png(path, np.concatenate(rows))


def _row(item: Item, reader: Reader, width: int) -> npt.NDArray[np.uint8]:
    original = np.asarray(read_checked(item.original, reader))
    title, images = f"{item.name}   {original.shape[1]}x{original.shape[0]}", [original]
    if item.references:
        blurred = np.asarray(read_checked(item.blurred, reader))
        value = psnr(*(torch.tensor(image).permute(2, 0, 1)[None] / 255 for image in (blurred, original))).item()
        title = f"{title}   blurred: {value:.2f} dB"
        images = [blurred, original, residual_image(blurred, original)]
    height = round(width * original.shape[0] / original.shape[1])
    page = Image.new("RGB", (3 * (width + _GAP), height + _TITLE + _GAP), "white")
    ImageDraw.Draw(page).text((2, 2), title, fill="black")
    for i, image in enumerate(images):
        small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
        page.paste(small, (i * (width + _GAP), _TITLE))
    return np.asarray(page)
