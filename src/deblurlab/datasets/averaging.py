"""Pairs from the frames of a high-speed camera, as GoPro was made (Nah, Kim and Lee, CVPR 2017, section 2)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deblurlab.errors import UserError
from deblurlab.media.images import find_images, read_image, write_png
from deblurlab.runs.files import atomic_folder

_GAMMA = 2.2
_TO_LINEAR = np.rint(65535 * (np.arange(256) / 255) ** _GAMMA).astype(np.uint32)
_FROM_LINEAR = np.searchsorted((_TO_LINEAR[:-1] + _TO_LINEAR[1:]) // 2, np.arange(65536), side="left").astype(np.uint8)


def average_frames(frames: Path, output: Path, *, window: tuple[int, int], seed: int = 0) -> Iterator[tuple[int, int]]:
    """Average windows of consecutive frames into blurred images; yield the number of frames used and their total.

    Every window has an odd number of frames; its middle frame is the sharp image. The pairs are written to
    `output/{blur,blur_gamma,sharp}/%06d.png`: `blur` is the mean of the 8-bit values, `blur_gamma` the mean in linear
    light (a gamma of 2.2), converted back.

    Args:
        frames: Folder of frames in order.
        output: Folder to create.
        window: Smallest and largest number of frames; odd numbers are drawn uniformly, both ends included.
        seed: Seed of the draws.

    Raises:
        UserError: `output` exists, `window` contains no odd number or is longer than the video, or frames differ in
            size.
    """
    if output.exists():
        raise UserError(f"{output} exists already: choose another folder")
    lengths = [n for n in range(window[0], window[1] + 1) if n % 2 and n > 1]
    if not lengths:
        raise UserError(
            f"a window of {window[0]}..{window[1]} frames holds no odd number above 1: choose a larger window"
        )
    files = find_images(frames)
    if len(files) < max(lengths):
        raise UserError(
            f"{frames} has {len(files)} frames, too few for a window of {max(lengths)}: choose a smaller window"
        )
    rng, start, number = np.random.default_rng(seed), 0, 0
    with atomic_folder(output) as temporary:
        for kind in ("blur", "blur_gamma", "sharp"):
            (temporary / kind).mkdir()
        while start + (length := int(rng.choice(lengths))) <= len(files):
            images = _averages(files[start : start + length])
            for kind, image in zip(("blur", "blur_gamma", "sharp"), images, strict=True):
                write_png(temporary / kind / f"{number:06d}.png", image)
            start, number = start + length, number + 1
            yield start, len(files)


def _averages(files: list[Path]) -> tuple[npt.NDArray[np.uint8], ...]:
    """Return the mean of the frames, their mean in linear light, and the middle frame."""
    middle = read_image(files[len(files) // 2])
    total, linear_total = np.zeros(middle.shape, np.uint32), np.zeros(middle.shape, np.uint32)
    for path in files:
        frame = read_image(path)
        if frame.shape != middle.shape:
            raise UserError(
                f"{path} is {frame.shape[1]}x{frame.shape[0]}, but other frames of its video have another size: remove "
                f"or resize it"
            )
        total += frame
        linear_total += _TO_LINEAR[frame]
    count = len(files)
    mean = ((total + count // 2) // count).astype(np.uint8)
    return mean, _FROM_LINEAR[(linear_total + count // 2) // count], middle
