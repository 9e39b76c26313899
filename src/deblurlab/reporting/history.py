"""Validation images of a training over its steps."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from deblurlab.reporting.samples import data_url
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import read_yaml

_MAX_IMAGES, _MAX_STEPS = 3, 8
_MAX_SIDE = 384
"""Larger images are cropped to their centre, so that the page stays below about 6 MB."""


class Frame(NamedTuple):
    """One picture of a validation image."""

    label: str
    url: str


class History(NamedTuple):
    """A validation image: blurred, restored after some steps, and sharp if there is a reference."""

    image: str
    width: int
    height: int
    frames: list[Frame]


def histories(run: Run) -> list[History]:
    """Return at most `_MAX_IMAGES` validation images over at most `_MAX_STEPS` steps each, both evenly chosen."""
    files: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in sorted(run.samples.glob("val_*_*.png")):
        name, _, step = path.stem.removeprefix("val_").rpartition("_")
        if step.isdigit():
            files[name][int(step)] = path
    if not files:
        return []
    views = _views(run)
    chosen = [list(files)[i] for i in _evenly(len(files), _MAX_IMAGES)]
    found = (_history(name, files[name], views) for name in chosen)
    return [history for history in found if history is not None]


def _views(run: Run) -> tuple[int, bool]:
    """Return the number of images side by side in a sample, and whether the third one is the sharp reference.

    See `views` of the modules in `deblurlab.training`.
    """
    target = str(read_yaml(run.config_file)["module"]["_target_"])
    if target.endswith(".CycleRestoration"):
        return 6, False
    if run.metrics_file.exists():  # another logger may have been chosen
        with run.metrics_file.open() as file:
            if ",val/loss/" not in file.readline():  # losses in validation are computed with references only
                return 2, False
    return 3, True


def _history(name: str, files: Mapping[int, Path], views: tuple[int, bool]) -> History | None:
    """Return the frames of an image; None if its samples have another number of views."""
    count, is_referenced = views
    steps = sorted(files)
    frames: list[Frame] = []
    size = 0, 0
    for step in (steps[i] for i in _evenly(len(steps), _MAX_STEPS)):
        with Image.open(files[step], formats=["PNG"]) as strip:
            if strip.width % count:
                return None
            width = strip.width // count
            parts = [_centre(strip.crop((i * width, 0, (i + 1) * width, strip.height))) for i in range(min(count, 3))]
        if not frames:
            frames.append(Frame("blurred", data_url(parts[0])))
        frames.append(Frame(f"step {step:,}", data_url(parts[1])))
        size = parts[0].size
    if is_referenced:
        frames.append(Frame("sharp", data_url(parts[2])))
    return History(name, *size, frames)


def _centre(image: Image.Image) -> Image.Image:
    width, height = (min(side, _MAX_SIDE) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _evenly(count: int, most: int) -> list[int]:
    """Return at most `most` indices below `count`, evenly spaced, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
