"""Fixtures of the tests of `deblurlab restore`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deblurlab.cli.restore import restore as restore_command
from support import small_release


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory.mktemp("release") / "small")


@pytest.fixture
def restore(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`deblurlab restore ...` with a small model in an empty folder; returns the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as end:
            restore_command([str(word) for word in (*arguments, "--weights", weights, "--device", "cpu")])
        assert end.value.code in (0, 1), end.value.code
        return int(end.value.code)

    return run
