"""Releases: written from finished runs, read without trust."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
import torch

from deblurlab.checkpoints.load import generator_weights, load_model
from deblurlab.checkpoints.release import read_release
from deblurlab.cli import main
from deblurlab.cli.export import export
from deblurlab.errors import UserError


@pytest.fixture
def release(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a release in the current folder, beside its training."""
    monkeypatch.setattr(sys, "argv", ["deblurlab", "export", str(trained), "-o", "released"])
    main()
    return Path("released")


def test_a_release_holds_the_best_weights_the_model_and_the_results(release: Path) -> None:
    index, weights = read_release(release)
    expected = generator_weights(Path("runs/run"))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    assert index["model"]["class"] == "deblurlab.models.UNetRes"
    assert index["model"]["arguments"]["width"] == 4
    assert index["weights"]["sha256"] == hashlib.sha256((release / "model.safetensors").read_bytes()).hexdigest()
    assert index["run"]["sets"]["photographs"]["psnr"] > 0
    assert "8 bits" in index["run"]["protocol"]["range"]


def test_a_release_of_half_the_size_has_rounded_weights(release: Path) -> None:
    export(["runs/run", "-o", "half", "--half"])
    half = read_release(Path("half"))[1]
    assert {name: value.dtype for name, value in half.items()} == dict.fromkeys(half, torch.float16)
    assert all(torch.equal(half[name], value.half()) for name, value in read_release(release)[1].items())


def test_a_changed_file_is_refused(release: Path) -> None:
    file = release / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="isn't the file that was released"):
        read_release(release)
    file.unlink()
    with pytest.raises(UserError, match="can't be read"):
        read_release(release)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("format", 2, "release of format 2, this version of deblurlab reads 1: update deblurlab"),
     ("format", True, "release of format True"),
     ("weights", {"file": "../\x1b[31m", "sha256": ""}, r"outside the release, '../\\x1b\[31m': no release"),
     ("weights", {"file": "model.safetensors", "sha256": "\x1b[31m"}, r"not \\x1b\[31m; download or export it again$"),
     ("weights", {}, r"config.json isn't the index of a release of deblurlab \(it has no 'file'\): deblurlab export")],
)  # fmt: skip
def test_an_invalid_index_is_refused(release: Path, key: str, value: object, message: str) -> None:
    index = json.loads((release / "config.json").read_text())
    (release / "config.json").write_text(json.dumps({**index, key: value}))
    with pytest.raises(UserError, match=message):
        read_release(release)


def test_only_finished_runs_are_released_and_no_folder_is_overwritten(release: Path) -> None:
    with pytest.raises(SystemExit, match="released exists already"):
        export(["runs/run", "-o", "released"])
    Path("runs/run/results.json").unlink()
    with pytest.raises(SystemExit, match="holds no finished run"):
        export(["runs/run", "-o", "other"])


def test_releases_with_the_file_names_of_earlier_versions_are_read(release: Path) -> None:
    expected = read_release(release)[1]
    index = json.loads((release / "config.json").read_text())
    index["weights"]["file"] = "weights.safetensors"
    (release / "release.json").write_text(json.dumps(index))
    (release / "config.json").unlink()
    (release / "model.safetensors").rename(release / "weights.safetensors")
    weights = load_model(release).state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_an_index_of_any_size_is_not_read(release: Path) -> None:
    os.truncate(release / "config.json", 1 << 40)
    with pytest.raises(UserError, match="it has more than 16 MiB"):
        read_release(release)
