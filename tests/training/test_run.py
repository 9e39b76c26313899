"""Training runs from the command line to the report."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor

from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.load import generator_weights
from deblurlab.models import UNetRes
from steps import same

Train = Callable[..., Path]
GAN = ["loss=l1+vgg+adv", "loss.vgg.weights=random", "loss.vgg.layers=[relu1_2]"]


def _results(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_a_run_writes_all_its_files(train: Train) -> None:
    run = train(*GAN, "trainer.limit_test_batches=5", curves=True)
    results = _results(run)
    assert results["steps"] == 3
    assert results["decided"] == {"vgg weights": "random"}
    assert results["options"]["model"] == "unet_res"
    assert results["options"]["loss"] == "l1+vgg+adv"
    assert results["parameters"] == sum(p.numel() for p in UNetRes(width=4, depth=1, blocks=1).parameters())
    assert results["protocol"]["psnr"] == "RGB, in dB"
    assert results["sets"]["photographs"]["images"] == 5
    config = OmegaConf.load(run / "config.yaml")
    assert config.loss.vgg.weights == "random"
    assert config.model.width == 4
    assert "loss=l1+vgg+adv" in OmegaConf.load(run / "overrides.yaml")
    assert json.loads((run / "environment.json").read_text())["packages"]["torch"].startswith("2.")
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    samples = {path.name for path in (run / "samples").iterdir()}
    assert "test_astronaut-000000.png" in samples
    assert "val_validation-000000_0000003.png" in samples
    rows = _rows(run / "metrics.csv")
    assert [int(row["step"]) for row in rows if row["loss/l1"]] == [1, 2, 3]
    for name in ("loss/vgg", "loss/adv", "loss/discriminator_adv", "val/loss/l1", "val/psnr", "val/ssim_blurred"):
        assert any(row[name] for row in rows), name
    assert results["validation"]["psnr"] == pytest.approx(
        float(next(row["val/psnr"] for row in rows if row["val/psnr"]))
    )
    page = (run / "report.html").read_text()
    assert "vgg weights: random" in page
    assert "data:image/webp;base64," in page
    assert "<svg" in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)  # needs no other file and no network


def test_metrics_are_means_over_images_and_agree_with_the_sample_images(train: Train) -> None:
    run = train("trainer.limit_test_batches=5")
    scores = _results(run)["sets"]["photographs"]
    rows = _rows(run / "per_image.csv")
    assert scores["psnr"] == pytest.approx(np.mean([float(row["psnr"]) for row in rows]))
    for row in rows:
        sample = np.asarray(Image.open(run / "samples" / f"test_{row['image'].replace('/', '-')}.png"))
        blurred, restored, sharp = np.split(sample, 3, axis=1)
        assert float(row["psnr_blurred"]) == pytest.approx(peak_signal_noise_ratio(sharp, blurred), abs=1e-6)
        assert float(row["psnr"]) == pytest.approx(peak_signal_noise_ratio(sharp, restored), abs=1e-6)


@pytest.mark.slow
def test_a_seed_gives_the_same_run_and_another_seed_another(train: Train) -> None:
    weights = [
        generator_weights(train(*GAN, f"seed={seed}", "fresh=true") / "checkpoints" / "last.ckpt") for seed in (1, 1, 2)
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not all(torch.equal(value, weights[2][name]) for name, value in weights[0].items())


def test_a_finished_run_prints_its_results(train: Train, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    capsys.readouterr()
    train()
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()} == before
    assert "restored" in capsys.readouterr().out


def test_a_requeued_job_with_fresh_deletes_nothing(
    train: Train, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = trained / "mark"
    mark.touch()
    for count, kept in (("1", True), ("0", False)):
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
        train("fresh=true")
        assert mark.exists() == kept


def test_a_run_of_another_config_is_rejected_naming_the_keys(train: Train, trained: Path) -> None:
    with pytest.raises(SystemExit, match=r"model.width was 4 and is 8.*name=<other>.*fresh=true"):
        train("model.width=8")
    assert _results(train("model.width=8", "fresh=true"))["parameters"] > 1000


def test_fresh_deletes_its_own_run_only(train: Train, trained: Path) -> None:
    outer = trained.rename(trained.with_name("outer"))
    kept = shutil.copytree(outer, outer / "kept") / "results.json"
    with pytest.raises(SystemExit, match=r"holds other runs \(kept\): fresh=true won't delete it"):
        train("name=outer", "fresh=true")
    for key in ("init=runs/outer/kept", "ckpt=runs/outer/kept/checkpoints/last.ckpt"):
        with pytest.raises(SystemExit, match="which fresh=true would delete"):
            train("name=outer/kept", key, "fresh=true")
    assert kept.exists()


def test_a_stopped_run_resumes(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped during step 3, after the checkpoint of step 2."""
    through = generator_weights(train(*GAN, "callbacks.checkpoints.every=1", "name=run") / "checkpoints" / "last.ckpt")
    from deblurlab.training import PairedRestoration

    step = PairedRestoration.training_step

    def killed(self: PairedRestoration, batch: object, batch_idx: int) -> object:
        if self.global_step == 2:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    monkeypatch.setattr(PairedRestoration, "training_step", killed)
    with pytest.raises(SystemExit):
        train(*GAN, "callbacks.checkpoints.every=1", "fresh=true")
    run = Path("runs/run")
    assert not (run / "results.json").exists()
    assert read_checkpoint(run / "checkpoints" / "last.ckpt")["global_step"] == 2
    monkeypatch.setattr(PairedRestoration, "training_step", step)
    train(*GAN, "callbacks.checkpoints.every=1")
    assert _results(run)["steps"] == 3
    assert [int(row["step"]) for row in _rows(run / "metrics.csv") if row["loss/l1"]] == [1, 2, 3]
    after = generator_weights(run / "checkpoints" / "last.ckpt")
    assert same(after, through)


def test_ckpt_resumes_from_another_run(train: Train, trained: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    longer = train("name=longer", f"ckpt={last}", "trainer.max_steps=5").parent / "longer"
    assert _results(longer)["steps"] == 5
    assert [int(row["step"]) for row in _rows(longer / "metrics.csv") if row["loss/l1"]] == [4, 5]
    (optimizer,) = read_checkpoint(longer / "checkpoints" / "last.ckpt")["optimizer_states"]
    assert {state["step"].item() for state in optimizer["state"].values()} == {5}


@pytest.mark.parametrize("source", ["run", "checkpoint", "release"])
def test_init_starts_from_the_weights_of_a_run_or_release(
    train: Train, trained: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deblurlab.cli.export import export

    if source == "release":
        export([str(trained), "-o", "released"])
    where = {"run": trained, "checkpoint": trained / "checkpoints" / "best.ckpt", "release": Path("released")}[source]
    # With a learning rate of 0 what comes out is what went in.
    tuned = train("optimizer.lr=0", "scheduler=constant", f"init={where}", "name=tuned").parent / "tuned"
    before, after = (generator_weights(run) for run in (trained, tuned))
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert _results(tuned)["steps"] == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+trainer.gradient_clip_val=1"], r"use module.gradient_clip=1"),
        (["+trainer.accumulate_grad_batches=2"], r"use module.accumulate=2"),
        (["data=gopro", "data.root=nowhere"], "no GoPro data set at nowhere"),
        (["data=pairs", "data.blurred=nowhere", "data.sharp=nowhere"], "nowhere is not a folder"),
        (["init=nowhere"], "there is no checkpoint nowhere"),
        (["ckpt=nowhere"], "there is no checkpoint nowhere"),
        (["ckpt=bare.ckpt"], "bare.ckpt holds no training state: .* init=bare.ckpt loads a generator's weights"),
        (["callbacks.checkpoints.monitor=val/nope"], "monitor=val/nope isn't a metric of metric=; for another logged"),
        (
            ["callbacks.checkpoints.monitor=val/nope", "callbacks.checkpoints.mode=max"],
            "monitor=val/nope was not measured; validation measured val/loss",
        ),
        (["callbacks.checkpoints.mode=Max"], "callbacks.checkpoints.mode=Max is unknown: max, min, or null"),
        (["fresh=no"], "fresh=no must be true or false"),
        (["seed=abc"], "seed=abc must be a whole number"),
        (["seed=-1"], "seed=-1 must be a whole number from 0 to 4294967295"),
        (["loader.workers=-1"], "loader.workers=-1 must be a whole number, at least 0"),
        (["loader.batch_size=x"], "loader.batch_size=x must be a whole number, at least 1"),
        (["loss.l1.weight=0"], "every loss term has weight 0"),
        (["model.blocks=[1]"], "blocks has 1 numbers"),
        (["model.norm=nope"], "unknown norm 'nope'"),
        (["loader.batch_size=100"], "don't fill a batch of 100"),
        (["augment.size=500"], "500"),
        (["+model.widht=3"], "widht"),
    ],
)
def test_user_errors_are_one_line(train: Train, overrides: list[str], message: str) -> None:
    torch.save({"state_dict": {"generator.x": torch.zeros(1)}}, "bare.ckpt")
    smoke = not overrides[0].startswith("data=")
    extra = [] if smoke else ["model.width=4", "loss=l1", "name=run"]
    with pytest.raises(SystemExit) as raised:
        train(*overrides, *extra, smoke=smoke)
    said = str(raised.value.code)
    assert re.search(message, said), said
    assert said.startswith("deblurlab: ")
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1


def test_a_damaged_image_is_named_through_the_loaders_worker(
    train: Train, write_pairs: Callable[..., tuple[Path, Path]]
) -> None:
    blurred, sharp = write_pairs(6, size=(64, 64))
    file = blurred / "001.png"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(SystemExit, match=r"^deblurlab: \S*001.png is damaged or truncated .*: replace it$"):
        train(
            "data=pairs", f"data.blurred={blurred}", f"data.sharp={sharp}", "augment.size=32", "loader.batch_size=4",
            "loader.workers=1", "trainer.max_steps=3", "model.width=4", "loss=l1", smoke=False,
        )  # fmt: skip


def test_an_unwritable_folder_is_named(train: Train) -> None:
    Path("file").write_text("")
    with pytest.raises(SystemExit, match=r"deblurlab: file/run can't be written.*runs=<folder>"):
        train("runs=file")


def test_a_full_disk_at_the_end_is_one_line(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "runs/run/results.json")

    monkeypatch.setattr("deblurlab.training.run.write_json", full)
    with pytest.raises(SystemExit, match=r"^deblurlab: the disk is full .*: 'runs/run/results.json'\): free space"):
        train()


class Poison(torch.nn.Module):
    """Loss term outside the package that is NaN from its third use on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        self.calls += 1
        return (restored - sharp).square().mean() * (float("nan") if self.calls >= 3 else 1.0)


def test_a_nan_loss_stops_the_run_naming_term_step_and_checkpoint(train: Train) -> None:
    with pytest.raises(
        SystemExit, match=r"loss/poison was not finite at step 3, .*last good checkpoint is \S*last\.ckpt"
    ):
        train(
            f"+loss.poison._target_={__name__}.Poison", "+loss.poison.weight=1", "callbacks.checkpoints.every=2",
            "trainer.max_steps=6", "trainer.log_every_n_steps=6", "trainer.val_check_interval=6",
        )  # fmt: skip
    kept = read_checkpoint(Path("runs/run/checkpoints/last.ckpt"))
    assert kept["global_step"] == 2
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    assert not Path("runs/run/results.json").exists()


def test_own_classes_and_config_folders_work(train: Train, tmp_path: Path) -> None:
    (tmp_path / "mine" / "loss").mkdir(parents=True)
    (tmp_path / "mine" / "loss" / "huber.yaml").write_text(
        "huber: {_target_: torch.nn.HuberLoss, delta: 0.1, weight: 2}\n"
    )
    run = train("--config-dir", str(tmp_path / "mine"), "loss=l1+huber")
    assert any(row["loss/huber"] for row in _rows(run / "metrics.csv"))


@pytest.mark.slow
def test_a_sweep_runs_every_combination(train: Train) -> None:
    runs = train(
        "-m", "model=unet,unet_res", "loss=l1,l1+0.01*adv", "name=null", "trainer.max_steps=2",
        "trainer.val_check_interval=2",
    ).parent  # fmt: skip
    results = [json.loads(file.read_text()) for file in runs.glob("*/results.json")]
    found = {(r["options"]["model"], r["options"]["loss"]) for r in results}
    assert found == {(model, loss) for model in ("unet", "unet_res") for loss in ("l1", "l1+0.01*adv")}
    assert len(results) == 4


def test_one_failing_job_of_a_sweep_is_named_and_keeps_the_others(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train("-m", "model.norm=none,nope", "name=null")
    assert "unknown norm 'nope'" in capsys.readouterr().err
    assert len(list(Path("runs").glob("*/results.json"))) == 1


def test_bfloat16_trains(train: Train) -> None:
    run = train(*GAN, "trainer.precision=bf16-mixed")
    assert _results(run)["steps"] == 3
    weights = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.slow
def test_one_pair_can_be_overfitted(train: Train, write_pairs: Callable[..., tuple[Path, Path]]) -> None:
    """Tested on the pair that it was trained on: more than 5 dB above the blurred input."""
    from deblurlab.synthesis import Synthesis

    blurred, sharp = write_pairs(2, size=(64, 64))
    pair = Synthesis(blur_length=(6, 6), objects=(0, 0)).scene_pair(np.random.default_rng(0), 64, 64)
    for i in range(2):
        for folder, image in zip((blurred, sharp), pair, strict=False):
            Image.fromarray(image).save(folder / f"{i:03d}.png")
    run = train(
        "data=pairs", f"data.blurred={blurred}", f"data.sharp={sharp}", "augment=none", "augment.size=64",
        "loader.batch_size=1", "loader.workers=0", "loss=l1+0.0001*adv", "model.width=24", "model.depth=2",
        "model.blocks=2", "discriminator.width=8", "discriminator.n_layers=1", "optimizer.lr=1e-3",
        "optimizer.betas=[0.9,0.99]", "trainer.max_steps=500", "trainer.val_check_interval=500",
        "callbacks.ema.decay=0.9", "name=run", smoke=False,
    )  # fmt: skip
    scores = _results(run)["sets"]["val"]
    assert scores["psnr"] > scores["psnr_blurred"] + 5
