"""Sample images of a run, embedded into a page, with the values of `per_image.csv` in their captions."""

import base64
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from deblurlab.metrics.info import MetricInfo
from deblurlab.reporting.residual import residual_image
from deblurlab.runs.folder import Run

Row = Mapping[str, str]
"""Row of `per_image.csv`."""


class Comparison(NamedTuple):
    """Images of one sample as data URLs."""

    image: str
    """Name of the image."""
    method: str
    """What restored it."""
    caption: str
    """Blur length and metric, empty if they are unknown."""
    width: int
    height: int
    blurred: str
    restored: str
    sharp: str
    residual: str | None


def read_rows(run: Run) -> list[dict[str, str]]:
    """Return the rows of a run's per_image.csv, none if the run has no such file."""
    if not run.per_image_file.exists():
        return []
    with run.per_image_file.open(newline="") as file:
        return list(csv.DictReader(file))


def training_samples(
    run: Run, metrics: Mapping[str, MetricInfo], method: str, *, only: Sequence[str] | None = None
) -> dict[str, Comparison]:
    """Return the test images of a training run by file name.

    Args:
        run: The run.
        metrics: Metrics of its results; the first one measured on the blurred images too is in the captions.
        method: What restored the images.
        only: File names of the images to return; None returns all.
    """
    rows = {row["image"].replace("/", "-"): row for row in read_rows(run)}
    found = {}
    for path in sorted(run.samples.glob("test_*.png")):
        if only is not None and path.name not in only:
            continue
        name = path.stem.removeprefix("test_")
        row = rows.get(name, {})
        found[path.name] = _embed_triptych(path, row.get("image", name), method, describe(row, metrics))
    return found


def evaluation_samples(run: Run, metrics: Mapping[str, MetricInfo], method: str) -> list[Comparison]:
    """Return the worst, the median and the best image of each set of an evaluation, with residuals.

    Args:
        run: The evaluation.
        metrics: Metrics of its results; the first one measured on the blurred images too is in the captions.
        method: What restored the images.
    """
    found, rows = [], read_rows(run)
    for path in sorted(run.samples.glob("*.png")):
        name, caption = path.stem, ""
        for row in rows:
            place, image = (re.escape(row[key].replace("/", "-")) for key in ("set", "image"))
            if rank := re.fullmatch(rf"{place}_\d_(worst|median|best)_{image}", path.stem):
                name, caption = f"{row['image']}, {rank[1]} of {row['set']}", describe(row, metrics)
        found.append(_embed_triptych(path, name, method, caption, residual=True))
    return found


def describe(row: Row, metrics: Mapping[str, MetricInfo]) -> str:
    """Return an image's blur length, if it is known, and its first metric before and after with the gain.

    >>> psnr = MetricInfo(title="PSNR", unit="dB", digits=2, higher_is_better=True)
    >>> describe({"psnr": "28.1", "psnr_blurred": "27.32", "blur_length": "3.97"}, {"psnr": psnr})
    'blur length 4.0 px, PSNR 27.32 → 28.10 dB (+0.78)'
    """
    parts = [f"blur length {float(length):.1f} px"] if (length := row.get("blur_length")) else []
    for name, info in metrics.items():
        if row.get(name) and row.get(f"{name}_blurred"):
            blurred, restored = float(row[f"{name}_blurred"]), float(row[name])
            unit = f" {info.unit}" if info.unit else ""
            gain = info.format(info.gain(blurred, restored), "+")
            parts.append(f"{info.title} {info.format(blurred)} → {info.format(restored)}{unit} ({gain})")
            break
    return ", ".join(parts)


def _embed_triptych(path: Path, image: str, method: str, caption: str, *, residual: bool = False) -> Comparison:
    """Return the parts of a sample image, `blurred | restored | sharp`, as data URLs."""
    with Image.open(path, formats=["PNG"]) as strip:
        width = strip.width // 3
        parts = [strip.crop((i * width, 0, (i + 1) * width, strip.height)) for i in range(3)]
    difference = None
    if residual:
        difference = data_url(Image.fromarray(residual_image(*map(np.asarray, parts[1:]))))
    blurred, restored, sharp = map(data_url, parts)
    return Comparison(image, method, caption, *parts[0].size, blurred, restored, sharp, difference)


def data_url(image: Image.Image) -> str:
    """Return an image as a data URL, compressed with losses."""
    data = io.BytesIO()
    image.save(data, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()
