"""A page of samples of a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from deblurlab.data.frames import Reader
from deblurlab.data.images import write_png
from deblurlab.data.pairs import Pair
from deblurlab.metrics import psnr

_GAP, _TITLE = 6, 16


def write_sheet(path: Path, pairs: Sequence[Pair], reader: Reader, *, width: int = 480) -> None:
    """Write a PNG with a row for each pair: blurred, sharp, and four times their difference around grey, each `width`
    pixels wide, under its name, its size and the PSNR of the blurred image.

    Raises:
        UserError: An image can't be read.
    """
    rows = [_row(pair, reader, width) for pair in pairs]
    write_png(path, np.concatenate(rows))


def _row(pair: Pair, reader: Reader, width: int) -> npt.NDArray[np.uint8]:
    blurred, sharp = np.asarray(reader(pair.blurred)), np.asarray(reader(pair.sharp))
    score = psnr(*(torch.tensor(image).permute(2, 0, 1)[None] / 255 for image in (blurred, sharp))).item()
    difference = np.clip(128 + 4 * (blurred.astype(np.int16) - sharp), 0, 255).astype(np.uint8)
    height = round(width * sharp.shape[0] / sharp.shape[1])
    page = Image.new("RGB", (3 * (width + _GAP), height + _TITLE + _GAP), "white")
    title = f"{pair.name}   {sharp.shape[1]}x{sharp.shape[0]}   blurred: {score:.2f} dB"
    ImageDraw.Draw(page).text((2, 2), title, fill="black")
    for i, image in enumerate((blurred, sharp, difference)):
        small = Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS)
        page.paste(small, (i * (width + _GAP), _TITLE))
    return np.asarray(page)
