"""Fixtures: small data sets, and training runs in this process."""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import configure_log
from hypothesis import settings
from omegaconf import open_dict
from PIL import Image

from deblurlab._compat import hydra_version_base, separate_hydra_state
from deblurlab.cli import hydra_commands
from deblurlab.config import CONF, register
from deblurlab.media.images import write_png
from support import small

torch.set_num_threads(1)  # pytest-xdist runs one process per processor
settings.register_profile("deblurlab", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("deblurlab")


@pytest.fixture(scope="session", autouse=True)
def _no_bf16() -> Iterator[None]:
    """Let precision=auto be float32, so that results are equal on every processor."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("deblurlab.inference.precision.cpu_has_bf16", lambda: False)
        yield


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the synthetic data of all tests, one for all processes of pytest-xdist."""
    session = tmp_path_factory.getbasetemp()
    root = (session.parent if "PYTEST_XDIST_WORKER" in os.environ else session) / "synthetic"
    root.mkdir(exist_ok=True)
    return root


def _run_job(overrides: Sequence[str]) -> None:
    """Run the job of `deblurlab train` without Hydra's command line, which composes the config twice."""
    register()
    with separate_hydra_state(), initialize_config_dir(str(CONF), **hydra_version_base()):
        cfg = compose("train", list(overrides), return_hydra_config=True)
    configure_log(cfg.hydra.job_logging)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    hydra_commands._train(cfg)


def _trainer(folder: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.chdir(folder)

    def run(*overrides: str, smoke: bool = True, curves: bool = False) -> Path:
        monkeypatch.setattr(sys, "argv", ["train.py"])
        if not curves:
            monkeypatch.setattr("deblurlab.reporting.page._curves", lambda file, metrics: [])
        GlobalHydra.instance().clear()
        given = {override.lstrip("+").partition("=")[0] for override in overrides}
        root = [] if "data" in given or "experiment" in given else [f"data.root={data_root}"]
        choices = [o.partition(",")[0] for o in overrides if re.match("(model|discriminator|experiment)=", o)]
        loss = [] if "experiment" in given else ["loss=l1"]
        short = ["+debug=smoke", "trainer.limit_test_batches=1"]
        added = [*short, *root, *small(*choices), *loss, "name=run"] if smoke else []
        command = [*overrides, *(o for o in added if o.lstrip("+").partition("=")[0] not in given)]
        has_flags = any(override.startswith("-") for override in overrides)
        (hydra_commands.train if has_flags else _run_job)(command)
        return folder / "runs" / "run"

    return run


@pytest.fixture
def train(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Function that trains with overrides in an empty folder, 3 steps on small images, and returns the run folder.

    The trained network is tested on one image, and the report has no curves, which would take half of the time.
    """
    yield _trainer(tmp_path, data_root, monkeypatch)
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def train_once(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Callable[..., Path]:
    """Function that trains like `train`, each time in another folder: for fixtures that several tests share."""

    def run(*overrides: str, **options: bool) -> Path:
        with pytest.MonkeyPatch.context() as monkeypatch:
            run = _trainer(tmp_path_factory.mktemp("trained"), data_root, monkeypatch)(*overrides, **options)
        GlobalHydra.instance().clear()
        return run

    return run


@pytest.fixture(scope="session")
def finished_run(train_once: Callable[..., Path]) -> Path:
    """Run folder of a finished training, only read."""
    return train_once()


@pytest.fixture
def trained(finished_run: Path, train: Callable[..., Path], tmp_path: Path) -> Path:
    """What `train()` returns, without the time for training: a copy of `finished_run`."""
    return shutil.copytree(finished_run, tmp_path / "runs" / "run")


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
                image = rng.integers(0, 256, (72, 96, 3), dtype=np.uint8)
                write_png(root / place / kind / f"{i:06d}.png", image)
    return root


@pytest.fixture
def gopro_copy(gopro_tree: Path, tmp_path: Path) -> Path:
    """Copy of `gopro_tree` that a test may change."""
    return shutil.copytree(gopro_tree, tmp_path / "GOPRO")
