"""Sharp photographs as sources of synthetic scenes."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from deblurlab.datasets.frame_store import FrameStore, Image
from deblurlab.datasets.frame_store_writer import write_frame_store
from deblurlab.errors import UserError
from deblurlab.media.images import find_images, image_size, read_image
from deblurlab.runs.progress import progress

SideRange = tuple[int, int]
"""Smallest and largest longer side in pixels, from which a reduction is drawn for each crop. Photographs are never
enlarged, and not reduced below the size of the crop."""


def find_photographs(folder: Path, side: SideRange | None, rows: int, columns: int) -> list[Path]:
    """Return the image files of a folder that hold a crop of this size after reduction to the largest side.

    Raises:
        UserError: These are fewer than two, or the range is invalid.
    """
    if side is not None and not (_is_pair(side) and 1 <= side[0] <= side[1]):
        raise UserError(f"source_side={side}: two whole numbers of pixels, the smaller one first")
    found = find_images(folder)
    sizes = ((path, *_reduced_size(*image_size(path), side)) for path in found)
    files = [path for path, width, height in sizes if height >= rows and width >= columns]
    if len(files) < 2:
        raise UserError(
            f"of the {len(found)} images in source_images={folder}, {len(files)} have at least "
            f"{columns}x{rows} pixels, but training and validation need one each: add images, or lower "
            f"height and width of the data set (augment.size for endless scenes)"
        )
    return files


class Photographs:
    """Sharp photographs whose random crops are the backgrounds of scenes.

    `prepare` decodes them once, reduced to the largest side, into a frame store, from which crops are read.

    Args:
        folder: Folder of the files.
        files: The image files.
        part: The files that are used. Several parts share the frame store of all files.
        store: Folder of the frame store.
        side: Range of the longer side after reduction; None for no reduction.
    """

    def __init__(
        self, folder: Path, files: Sequence[Path], *, part: slice = slice(None), store: Path, side: SideRange | None
    ) -> None:
        self._folder, self._all, self._files, self._side = folder, list(files), list(files[part]), side
        self._store = store
        self._frames: FrameStore | None = None

    def is_prepared(self) -> bool:
        """Return whether the photographs are decoded and unchanged since."""
        try:
            FrameStore(self._folder, self._store)
        except UserError:
            return False
        return True

    def prepare(self) -> None:
        """Decode the photographs unless they are already decoded.

        Raises:
            UserError: A photograph can't be read, or the store can't be written.
        """
        if not self.is_prepared():
            steps = write_frame_store(self._folder, self._all, folder=self._store, read=self._read)
            with progress(f"Decoding {len(self._all)} photographs", len(self._all)) as update:
                for written in steps:
                    update(written)

    def delete(self) -> None:
        """Delete the decoded photographs."""
        self._frames = None
        shutil.rmtree(self._store, ignore_errors=True)

    def __call__(self, rng: np.random.Generator, height: int, width: int) -> Image:
        """Return a crop, `(height, width, 3)` uint8, of a random photograph, flipped at random."""
        if self._frames is None:
            self._frames = FrameStore(self._folder, self._store)
        image = self._frames(self._files[int(rng.integers(len(self._files)))])
        rows, columns = height, width
        if self._side is not None:
            side = math.exp(rng.uniform(*np.log(self._side)))
            scale = max(side / max(image.shape[:2]), height / image.shape[0], width / image.shape[1])
            rows, columns = (max(size, math.floor(size / scale)) for size in (height, width))
        top = int(rng.integers(image.shape[0] - rows + 1))
        left = int(rng.integers(image.shape[1] - columns + 1))
        crop = _reduce(image[top : top + rows, left : left + columns], height, width)
        return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)

    def _read(self, path: Path) -> Image:
        image = read_image(path)
        return _reduce(image, *_reduced_size(image.shape[0], image.shape[1], self._side))


def _is_pair(values: Sequence[object]) -> bool:
    return isinstance(values, Sequence) and len(values) == 2 and all(isinstance(value, int) for value in values)


def _reduced_size(a: int, b: int, side: SideRange | None) -> tuple[int, int]:
    """Return the sides of a photograph after reduction to the largest side of the range."""
    scale = 1.0 if side is None else min(1.0, side[1] / max(a, b))
    return round(scale * a), round(scale * b)


def _reduce(image: Image, height: int, width: int) -> Image:
    """Reduce an image by averaging areas."""
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
