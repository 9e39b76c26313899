"""Fixtures: small data sets, and training runs in this process."""

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings
from PIL import Image

from deblurlab.cli.hydra_commands import train as train_command
from deblurlab.media.images import write_png
from support import small

torch.set_num_threads(1)  # pytest-xdist runs one process per processor
settings.register_profile("deblurlab", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("deblurlab")


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the synthetic data of all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def train(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Function that trains with overrides in an empty folder, 3 steps on small images, and returns the run folder."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str, smoke: bool = True) -> Path:
        monkeypatch.setattr(sys, "argv", ["train.py"])
        GlobalHydra.instance().clear()
        given = {override.lstrip("+").partition("=")[0] for override in overrides}
        root = [] if "data" in given or "experiment" in given else [f"data.root={data_root}"]
        choices = [o.partition(",")[0] for o in overrides if re.match("(model|discriminator|experiment)=", o)]
        loss = [] if "experiment" in given else ["loss=l1"]
        added = ["+debug=smoke", *root, *small(*choices), *loss, "name=run"] if smoke else []
        train_command([*overrides, *(o for o in added if o.lstrip("+").partition("=")[0] not in given)])
        return tmp_path / "runs" / "run"

    yield run
    GlobalHydra.instance().clear()


@pytest.fixture
def write_pairs(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Function that writes two folders of random pairs, blurred = sharp + noise, and returns (blurred, sharp)."""

    def write(
        count: int = 4, size: tuple[int, int] = (48, 64), name: str = "pairs", seed: int = 0
    ) -> tuple[Path, Path]:
        rng = np.random.default_rng(seed)
        folders = tmp_path / name / "blurred", tmp_path / name / "sharp"
        for i in range(count):
            sharp = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            blurred = np.clip(sharp + rng.normal(0, 10, sharp.shape), 0, 255).astype(np.uint8)
            for folder, image in zip(folders, (blurred, sharp), strict=True):
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(folder / f"{i:03d}.png")
        return folders

    return write


@pytest.fixture(scope="session")
def gopro_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data set in GoPro's layout, only read: training sequences a, b, c and test sequence d, two random pairs each."""
    root = tmp_path_factory.mktemp("gopro")
    rng = np.random.default_rng(0)
    for place in ("train/a", "train/b", "train/c", "test/d"):
        for kind in ("blur", "blur_gamma", "sharp"):
            (root / place / kind).mkdir(parents=True)
            for i in (1, 2):
                image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
                write_png(root / place / kind / f"{i:06d}.png", image)
    return root


@pytest.fixture
def gopro_copy(gopro_tree: Path, tmp_path: Path) -> Path:
    """Copy of `gopro_tree` that a test may change."""
    return shutil.copytree(gopro_tree, tmp_path / "GOPRO")
