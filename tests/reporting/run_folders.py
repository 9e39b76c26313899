"""Run folders with the files from which pages are written."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from deblurlab.media.images import write_png
from deblurlab.runs.files import write_csv
from deblurlab.runs.folder import Run

PSNR = {"title": "PSNR", "unit": "dB", "digits": 2, "description": "RGB", "higher_is_better": True}
ENVIRONMENT = {
    "command": ["/opt/lab/src/deblurlab/__main__.py", "train", "loss=l1 + vgg"], "python": "3.11.7",
    "platform": "Linux-6.1", "packages": {"torch": "2.14.1"}, "processors": 16, "threads": 1,
    "gpus": ["NVIDIA H200", "NVIDIA H200"], "version": "0.1.0", "commit": "abc123", "modified": True,
}  # fmt: skip
ROWS = [
    {"set": "a_set", "image": "cat/000001", "psnr": 25.5, "psnr_blurred": 24.25, "blur_length": 7.96},
    {"set": "a_set", "image": "dog", "psnr": 30.0, "psnr_blurred": 31.0, "blur_length": None},
]


def write_run(run: Run, kind: Mapping[str, Any]) -> None:
    """Write results, environment, values of two images, and config."""
    run.samples.mkdir(parents=True)
    means = {"images": 2, "failed": 0, "untouched": 0, "psnr": 27.75, "psnr_blurred": 27.625, "standard_error": {}}
    results = {
        "name": "mine", "seed": 1, "protocol": {"psnr": "RGB"}, "metrics": {"psnr": PSNR}, "unavailable": {},
        "sets": {"a_set": means}, "parameters": 10, "macs_256": 10, "finished": "2026-11-29 14:52:11+00:00",
        "version": "0.1.0", "commit": "abc123", "modified": True, **kind,
    }  # fmt: skip
    run.results_file.write_text(json.dumps(results))
    run.environment_file.write_text(json.dumps(ENVIRONMENT))
    write_csv(run.per_image_file, ROWS)
    OmegaConf.save(OmegaConf.create({"module": {"_target_": "deblurlab.training.PairedRestoration"}}), run.config_file)


def write_training(run: Run, *, names: Sequence[str] = ("cat-000001", "dog"), size: tuple[int, int] = (8, 8)) -> None:
    """Write a finished training whose test images are black, restored white, of this height and width."""
    write_run(run, {"options": {"model": "unet"}, "decided": {}, "steps": 20, "seconds": 60.0})
    for name in names:
        parts = [np.full((*size, 3), level, np.uint8) for level in (0, 255, 255)]
        write_png(run.samples / f"test_{name}.png", np.concatenate(parts, axis=1))


def write_restoration(run: Run) -> None:
    """Write a finished evaluation."""
    settings = {"restorer": {"path": "/runs/paper/checkpoints/last.ckpt"}, "psf": {}}
    costs = {"seconds_per_megapixel": 1.0, "peak_memory_mib": 10.0}
    write_run(run, {"options": {"restorer": "checkpoint"}, "settings": settings, "failed": {}, **costs})
    for rank, name in (("0_worst", "dog"), ("1_best", "cat-000001")):
        write_png(run.samples / f"a_set_{rank}_{name}.png", np.zeros((8, 24, 3), np.uint8))
