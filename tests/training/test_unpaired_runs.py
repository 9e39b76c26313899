"""Runs on unpaired images (`experiment=cyclegan`), from the command line to a release."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.load import generator_weights, load_model
from deblurlab.checkpoints.release import read_release
from deblurlab.cli import main
from deblurlab.cli.hydra_commands import evaluate as evaluate_command
from deblurlab.media.images import read_image, write_png
from deblurlab.models import ResNet
from deblurlab.training import CycleRestoration
from steps import same
from support import small

Train = Callable[..., Path]
QUICK = [
    "experiment=cyclegan", *small("experiment=cyclegan"), "discriminator.norm=spectral", "name=run",
    "metric=psnr+ssim+sharpness+kid", "metric.kid.patch=24", "augment.size=16", "loader.batch_size=2",
    "loader.workers=0", "trainer.max_epochs=-1", "trainer.max_steps=4", "trainer.val_check_interval=2",
    "trainer.check_val_every_n_epoch=null", "trainer.log_every_n_steps=1", "callbacks.checkpoints.every=1",
    "scheduler.interval=step", "scheduler.hold=2", "module.image_pool=3",
]  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return overrides that name two folders of images of different sizes."""
    root = tmp_path_factory.mktemp("unpaired")
    for side, count, size in (("blurred", 5, (40, 50)), ("sharp", 3, (60, 45))):
        (root / side).mkdir()
        for i in range(count):
            image = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
            write_png(root / side / f"{i}.png", image)
    return ["data=unpaired", *(f"data.{side}={root / side}" for side in ("blurred", "sharp"))]


@pytest.fixture(scope="module")
def unpaired_run(train_once: Train, folders: list[str]) -> Path:
    """Run folder of a finished training on the two folders, only read."""
    return train_once(*QUICK, *folders, smoke=False, curves=True)


def _results(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def test_samples_of_bfloat16(train: Train, folders: list[str]) -> None:
    """Samples run both generators after the validation step, outside of its autocast."""
    run = train(*QUICK, *folders, "trainer.precision=bf16-mixed", "trainer.max_steps=2", smoke=False)
    assert len(list((run / "samples").glob("val_*.png"))) > 0
    assert _results(run)["steps"] == 2


def test_training_on_two_unpaired_folders(unpaired_run: Path) -> None:
    run = unpaired_run
    results = _results(run)
    assert results["steps"] == 4
    assert results["options"]["loss"] == "cycle+identity+adv_ls"
    assert "factors@loss" not in results["options"]
    (scores,) = results["sets"].values()
    assert scores.keys() == {"images", "sharpness", "sharpness_blurred", "kid", "kid_blurred"}
    assert results["protocol"].keys() & {"psnr", "ssim", "sharpness"} == {"sharpness"}
    with (run / "metrics.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    named = {"cycle_blurred", "cycle_sharp", "identity_sharp", "identity_blurred", "adv_ls_sharp", "adv_ls_blurred"}
    named |= {"discriminator_adv_ls_sharp", "discriminator_adv_ls_blurred"}
    for key in [f"loss/{name}" for name in named]:
        assert len([row[key] for row in rows if row[key]]) == 4
    for key in ("val/kid", "val/kid_blurred", "val/sharpness"):
        assert len([row[key] for row in rows if row[key]]) == 2
    assert "val/psnr" not in rows[0]
    assert not (run / "checkpoints" / "best.ckpt").exists()
    # One validation image, of 40x50, beside one of 60x45: six of the common size.
    (sample,) = {read_image(path).shape for path in run.glob("samples/val_*.png")}
    assert sample == (40, 6 * 45, 3)
    assert "sharpness" in (run / "report.html").read_text()


def test_the_restoring_generator_is_evaluated_and_released_like_any_other(
    unpaired_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = unpaired_run
    model = load_model(run)
    assert isinstance(model, ResNet)
    weights = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    assert torch.equal(model.state_dict()["head.1.weight"], weights["generator.head.1.weight"])
    monkeypatch.setattr("sys.argv", ["deblurlab", "export", str(run), "-o", "released"])
    main()
    index, released = read_release(Path("released"))
    assert index["model"]["class"] == "deblurlab.models.ResNet"
    assert same(released, generator_weights(run))
    assert same(released, model.state_dict())
    assert not [name for name in released if "reblurrer" in name]


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(
    train: Train, unpaired_run: Path, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*QUICK, *folders]
    through = read_checkpoint(unpaired_run / "checkpoints" / "last.ckpt")
    step = CycleRestoration.training_step

    def killed(self: CycleRestoration, batch: object, batch_idx: int) -> object:
        if self.global_step == 3:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(CycleRestoration, "training_step", killed)
        with pytest.raises(SystemExit):
            train(*options, smoke=False)
    stopped = read_checkpoint(Path("runs/run/checkpoints/last.ckpt"))
    assert stopped["global_step"] == 3
    assert [len(stopped["memory"][0][side]["pool"]["images"]) for side in ("sharp", "blurred")] == [3, 3]
    after = read_checkpoint(train(*options, smoke=False) / "checkpoints" / "last.ckpt")
    assert after["state_dict"].keys() == through["state_dict"].keys()
    assert all(torch.equal(after["state_dict"][name], value) for name, value in through["state_dict"].items())
    for side in ("sharp", "blurred"):
        mine, theirs = (content["memory"][0][side]["pool"] for content in (after, through))
        assert all(torch.equal(a, b) for a, b in zip(mine["images"], theirs["images"], strict=True))


def test_additional_pairs_enter_the_loss(train: Train, folders: list[str], write_pairs: Callable) -> None:
    blurred, sharp = write_pairs(size=(32, 32))
    named = [f"data.val_blurred={blurred}", f"data.val_sharp={sharp}"]
    loss = "loss=cycle+identity+adv_ls+l1"
    run = train(*QUICK, *folders, *named, f"data.pairs={blurred.parent}", loss, smoke=False)
    with (run / "metrics.csv").open() as lines:
        values = [float(row["loss/l1"]) for row in csv.DictReader(lines) if row["loss/l1"]]
    assert len(values) == 4
    assert all(0 < value < 1 for value in values)
    assert _results(run)["sets"]["val"].keys() >= {"psnr", "psnr_blurred", "ssim", "sharpness"}


def test_untrainable_combinations_are_rejected_before_anything_is_written(
    train: Train, folders: list[str], write_pairs: Callable[..., tuple[Path, Path]]
) -> None:
    with pytest.raises(SystemExit, match="loss l1 needs pairs and the data set has none: data.pairs=<folder>"):
        train(*QUICK, *folders, "loss=cycle+adv_ls+l1", smoke=False)
    with pytest.raises(SystemExit, match="the validation or test images have no sharp references"):
        train(*QUICK, *folders, "metric=psnr+kid", smoke=False)
    with pytest.raises(SystemExit, match="val/psnr isn't among the measured metrics sharpness"):
        train(*QUICK, *folders, "callbacks.checkpoints.monitor=val/psnr", smoke=False)
    with pytest.raises(SystemExit, match="no loss term uses data.pairs: add one"):
        train(*QUICK, *folders, f"data.pairs={write_pairs(2)[0].parent}", smoke=False)
    with pytest.raises(SystemExit, match="/nowhere is not a folder"):
        train(*QUICK, *folders, "data.sharp=/nowhere", smoke=False)
    deep = "+discriminator@blurred_discriminator=patchgan", "blurred_discriminator.n_layers=4"
    with pytest.raises(SystemExit, match="augment.size=16 is too small for blurred_discriminator"):
        train(*QUICK, *folders, *deep, smoke=False)
    with pytest.raises(SystemExit, match="every loss term needs pairs"):
        train(*QUICK, "loss=l1", smoke=False)
    with pytest.raises(SystemExit, match="loss cycle needs a second generator"):
        train("loss=cycle+l1")
    with pytest.raises(SystemExit, match="experiment=cyclegan, which trains on unpaired"):
        train(*folders)
    assert not Path("runs").exists()


def test_the_best_checkpoint_can_be_selected_by_kid(train: Train, folders: list[str]) -> None:
    chosen = ["callbacks.checkpoints.monitor=val/kid", "callbacks.checkpoints.mode=min"]
    run = train(*QUICK, *folders, *chosen, smoke=False)
    best = read_checkpoint(run / "checkpoints" / "best.ckpt")["callbacks"]["Checkpoints"]["best"]
    with (run / "metrics.csv").open() as lines:
        measured = [float(row["val/kid"]) for row in csv.DictReader(lines) if row["val/kid"]]
    assert -best == pytest.approx(min(measured), rel=1e-6)


def test_unavailable_metrics_are_left_out_with_a_warning(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    run = train("metric=psnr+lpips_alex")
    results = _results(run)
    assert "lpips_alex is not measured: alexnet-owt-7be5be79.pth is unavailable" in capfd.readouterr().err
    assert "alexnet" in results["unavailable"]["lpips_alex"]
    assert "lpips_alex" not in results["sets"]["photographs"]
    assert "LPIPS (alex) not available" in (run / "report.html").read_text()


def test_the_reblurrer_can_be_another_model(train: Train, folders: list[str]) -> None:
    other = "+model@reblurrer=unet", *(f"reblurrer.{size}=1" for size in ("depth", "blocks"))
    discriminator = "+discriminator@blurred_discriminator=pixel", "blurred_discriminator.width=4"
    run = train(*QUICK, *folders, *other, "reblurrer.width=4", *discriminator, smoke=False)
    weights = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    assert weights["reblurrer.stem.weight"].shape[0] == 4
    assert "blurred_discriminator.first.0.weight" in weights


def test_unpaired_images_are_not_evaluated_as_pairs(
    train: Train, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def evaluate(*words: str) -> dict:
        monkeypatch.setattr("sys.argv", ["evaluate.py"])
        GlobalHydra.instance().clear()
        evaluate_command(["restorer=identity", "name=e", *folders, *words])
        return _results(Path("runs/evaluations/e"))

    with pytest.raises(SystemExit, match="have no sharp references"):
        evaluate()
    (scores,) = evaluate("metric=psnr+sharpness")["sets"].values()
    assert "psnr" not in scores
    assert scores["sharpness"] == scores["sharpness_blurred"] > 0
