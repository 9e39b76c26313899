"""Fixtures: evaluations in this process."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from deblurlab.cli.hydra_commands import evaluate as evaluate_command
from deblurlab.config import instantiate
from support import config

Evaluate = Callable[..., Path]


@pytest.fixture
def evaluate(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evaluate]:
    """Return a function that runs `evaluate.py` on one blur of each photograph and returns the run folder."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> Path:
        monkeypatch.setattr(sys, "argv", ["evaluate.py"])
        GlobalHydra.instance().clear()
        given = {override.partition("=")[0] for override in overrides}
        small = ["data=synthetic_small", f"data.root={data_root}", "name=run"]
        evaluate_command([*overrides, *(o for o in small if o.partition("=")[0] not in given and "data" not in given)])
        return tmp_path / "runs" / "evaluations" / "run"

    yield run
    GlobalHydra.instance().clear()


@pytest.fixture
def photographs(data_root: Path) -> Path:
    """Folder of the photographs that the fixture `evaluate` uses."""
    return instantiate(config("data=synthetic_small", f"data.root={data_root}").data).folder / "test"
