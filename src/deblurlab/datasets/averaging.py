"""Pairs from the frames of a fast camera, the way GoPro was made (Nah et al., CVPR 2017, section 2)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deblurlab.errors import UserError
from deblurlab.media.images import find_images, read_image, write_png
from deblurlab.runs.files import atomic_folder

_GAMMA = 2.2
_LINEAR = np.rint(65535 * (np.arange(256) / 255) ** _GAMMA).astype(np.uint32)
_BACK = np.searchsorted((_LINEAR[:-1] + _LINEAR[1:]) // 2, np.arange(65536), side="left").astype(np.uint8)


def average(frames: Path, output: Path, *, window: tuple[int, int], seed: int = 0) -> Iterator[tuple[int, int]]:
    """Average runs of consecutive frames into blurred images; yields how many frames are used up, of how many.

    Every run has an odd number of frames, drawn evenly from `window` (both ends included); its middle frame is the
    sharp image. `output/{blur,blur_gamma,sharp}/%06d.png`: `blur` is the mean of the frames as they are, `blur_gamma`
    that of their light, taken as the power 2.2 of their values, brought back.

    Raises:
        UserError: `output` exists, `window` holds no odd number or is longer than the video, or frames differ in size.
    """
    if output.exists():
        raise UserError(f"{output} exists already: choose another folder")
    lengths = [n for n in range(window[0], window[1] + 1) if n % 2 and n > 1]
    if not lengths:
        raise UserError(f"a window of {window[0]}..{window[1]} frames holds no odd number above 1, which has a middle")
    files = find_images(frames)
    if len(files) < max(lengths):
        raise UserError(f"{frames} has {len(files)} frames, too few for a window of {max(lengths)}")
    rng, start, number = np.random.default_rng(seed), 0, 0
    with atomic_folder(output) as temporary:
        for kind in ("blur", "blur_gamma", "sharp"):
            (temporary / kind).mkdir()
        while start + (length := int(rng.choice(lengths))) <= len(files):
            run = files[start : start + length]
            for kind, image in zip(("blur", "blur_gamma", "sharp"), _averages(run), strict=True):
                write_png(temporary / kind / f"{number:06d}.png", image)
            start, number = start + length, number + 1
            yield start, len(files)


def _averages(run: list[Path]) -> tuple[npt.NDArray[np.uint8], ...]:
    """The mean of the frames, the mean of their light, and the frame in the middle."""
    middle = read_image(run[len(run) // 2])
    plain, light = np.zeros(middle.shape, np.uint32), np.zeros(middle.shape, np.uint32)
    for path in run:
        frame = read_image(path)
        if frame.shape != middle.shape:
            raise UserError(f"{path} is {frame.shape[1]}x{frame.shape[0]}, other frames of its video aren't")
        plain += frame
        light += _LINEAR[frame]
    count = len(run)
    return ((plain + count // 2) // count).astype(np.uint8), _BACK[(light + count // 2) // count], middle
