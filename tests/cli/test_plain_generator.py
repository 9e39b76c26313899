"""A generator without a base class of deblurlab works in every command after its training."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

import plain_models
from deblurlab.cli.export import export
from deblurlab.cli.hydra_commands import evaluate
from deblurlab.cli.restore import restore
from deblurlab.cli.serve import serve
from deblurlab.media.images import read_image, write_png

CLASS = "plain_models.Strided"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that train the model `mine`, a plain module of stride 4, on crops of 64x64 of images of 66x70."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "model").mkdir()
    (folder / "model" / "mine.yaml").write_text(f"_target_: {CLASS}\nwidth: 6\n")
    rng = np.random.default_rng(0)
    for kind in ("blurred", "sharp"):
        (folder / kind).mkdir()
        for i in range(4):
            write_png(folder / kind / f"{i}.png", rng.integers(0, 256, (66, 70, 3), np.uint8))
    data = [f"data.{prefix}{kind}={folder / kind}" for kind in ("blurred", "sharp") for prefix in ("", "test_")]
    choices = [f"hydra.searchpath=[file://{folder}]", "+debug=smoke", "model=mine", "data=pairs", "loss=l1", "name=run"]
    return [*choices, *data, "data.val_share=0.25", "trainer.limit_test_batches=1"]


@pytest.fixture(scope="module")
def trained(train_once: Callable[..., Path], command: list[str]) -> Path:
    """Run of the model whose config says that sides must be multiples of 4."""
    return train_once(*command, "+model.multiple_of=4", smoke=False)


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy of the run, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEBLURLAB_TRUST", raising=False)
    return shutil.copytree(trained, tmp_path / "runs" / "mine").relative_to(tmp_path)


def _network(run: Path) -> plain_models.Strided:
    weights = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    network = plain_models.Strided(width=6).eval()
    network.load_state_dict(weights["callbacks"]["EMA"]["average"])
    return network


def _restore(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        restore([*arguments, "--device", "cpu"])
    return end.value.code


@pytest.mark.parametrize("by_variable", [False, True])
@pytest.mark.parametrize("released", [False, True])
def test_restore(run: Path, by_variable: bool, released: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    write_png(Path("x.png"), image)
    if released:
        export([str(run), "-o", "released"])
    weights = "released" if released else str(run)
    refused = _restore("x.png", "--weights", weights)
    assert str(refused).startswith(f"deblurlab: {weights} names {CLASS}, which isn't a model of deblurlab")
    if by_variable:
        monkeypatch.setenv("DEBLURLAB_TRUST", "plain_models")
    assert _restore("x.png", "--weights", weights, *([] if by_variable else ["--trust", CLASS])) == 0
    padded = np.pad(image, ((0, 3), (0, 2), (0, 0)), mode="reflect")
    with torch.no_grad():
        expected = _network(run)(torch.from_numpy(padded / 255).float().permute(2, 0, 1)[None])[0, :, :37, :50]
    levels = (255 * expected.clamp(0, 1)).round().permute(1, 2, 0).numpy()
    assert np.abs(read_image(Path("restored/x.png")) - levels).max() <= 1


def test_evaluate_several(run: Path, data_root: Path) -> None:
    for trust in ("trust=[plain_models]", f"restorer.trust=[{CLASS}]"):
        GlobalHydra.instance().clear()
        restorers = f"restorer=identity,{run}" if trust.startswith("trust") else f"restorer={run}"
        evaluate(["-m", restorers, trust, "data=synthetic_small", f"data.root={data_root}", "limit=1", "fresh=true"])
        GlobalHydra.instance().clear()
    results = [json.loads(file.read_text()) for file in sorted(Path("runs/evaluations").glob("*/results.json"))]
    assert {result["settings"]["restorer"]["_target_"].rpartition(".")[2] for result in results} == {
        "Identity", "Checkpoint",
    }  # fmt: skip
    measured = [result for result in results if "parameters" in result]
    assert len(measured) == 2
    for result in measured:
        # (3 x 6 + 6 x 3) kernels of 4x4, and 6 + 3 biases; each kernel is used at 64 x 64 positions.
        assert result["parameters"] == 36 * 16 + 9
        assert result["macs_256"] == 36 * 16 * 64 * 64
        assert result["failed"] == {}


def test_the_training_validates_and_tests_images_of_every_size(run: Path, command: list[str]) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["macs_256"] == 36 * 16 * 64 * 64
    (folder,) = (override.partition("=")[2] for override in command if override.startswith("data.blurred="))
    blurred, sharp = (read_image(Path(folder).parent / kind / "0.png") for kind in ("blurred", "sharp"))
    padded = np.pad(blurred, ((0, 2), (0, 2), (0, 0)), mode="reflect")
    with torch.no_grad():
        restored = _network(run)(torch.from_numpy(padded / 255).float().permute(2, 0, 1)[None])[0, :, :66, :70]
    levels = (255 * restored.clamp(0, 1)).round().permute(1, 2, 0).numpy()
    expected = 10 * np.log10(255**2 / np.mean((levels - sharp.astype(float)) ** 2))
    with (run / "per_image.csv").open(newline="") as file:
        assert [float(row["psnr"]) for row in csv.DictReader(file)] == pytest.approx([expected], abs=1e-3)


def test_a_validation_image_whose_size_does_not_fit_ends_the_training_in_one_line(
    train: Callable[..., Path], command: list[str]
) -> None:
    with pytest.raises(SystemExit, match=r"Strided can't restore an image of 70x66 pixels, multiple_of=1: .*") as end:
        train(*command, smoke=False)
    assert "\n" not in str(end.value.code)


def test_an_onnx_file_needs_no_trust(run: Path) -> None:
    pytest.importorskip("onnxscript")
    with pytest.raises(SystemExit, match="isn't a model of deblurlab"):
        export([str(run), "-o", "mine.onnx", "--format", "onnx"])
    export([str(run), "-o", "mine.onnx", "--format", "onnx", "--trust", CLASS])
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
    write_png(Path("x.png"), image)
    assert _restore("x.png", "--weights", "mine.onnx", "--engine", "onnxruntime", "-o", "a") == 0
    assert _restore("x.png", "--weights", str(run), "--trust", CLASS, "-o", "b") == 0
    a, b = (read_image(Path(folder) / "x.png").astype(int) for folder in "ab")
    assert np.abs(a - b).max() <= 1


def test_serve(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio")
    served: list[str] = []
    monkeypatch.setattr("deblurlab.serving.app.serve", lambda restorers, *_, **__: served.extend(restorers))
    with pytest.raises(SystemExit, match="isn't a model of deblurlab"):
        serve(["--weights", str(run), "--device", "cpu"])
    serve(["--weights", str(run), "--device", "cpu", "--trust", CLASS])
    assert served == ["mine"]


def test_an_image_whose_size_does_not_fit_is_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("  multiple_of: 4\n", ""))
    for name, width in (("a.png", 50), ("b.png", 48)):
        write_png(Path(name), np.full((40, width, 3), 128, np.uint8))
    assert _restore("a.png", "b.png", "--weights", str(run), "--trust", CLASS) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "can't be restored" in line]
    assert "a.png can't be restored: Strided can't restore an image of 50x40 pixels, multiple_of=1: " in line
    assert line.endswith("set that as model.multiple_of or as the class's multiple_of")
    assert [path.name for path in Path("restored").glob("*.png")] == ["b.png"]
