"""The package in examples/: its commands run from another folder, and docs/extending.md counts its lines."""

import ast
import csv
import json
import math
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.metrics import peak_signal_noise_ratio
from torch import nn

from deblurlab import build
from deblurlab.cli import main
from deblurlab.config import CONF, compose, instantiate
from deblurlab.discriminators import DiscriminatorOutput
from deblurlab.training import PairedRestoration

ROOT = CONF.parent
EXAMPLE = ROOT / "examples" / "my_package"
TABLE = (ROOT / "docs" / "extending.md").read_text().split("## How it works")[0]
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", (EXAMPLE / "README.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]
PARTS = {
    "loss term", "adversarial loss", "generator", "discriminator", "metric", "callback", "data set", "augmentation",
    "optimizer", "restorer", "experiment",
}  # fmt: skip
SHORT = ["trainer.max_steps=4", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1", "loader.workers=0"]
"""What the test adds to the training."""


def _lines(file: Path) -> int:
    return sum(bool(line.strip()) for line in file.read_text().splitlines())


def test_the_table_counts_the_lines_of_the_example() -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in TABLE.splitlines() if line.startswith("| ")]
    assert {row[0] for row in rows[1:]} == PARTS
    listed = set()
    for part, python, python_lines, options, option_lines in rows[1:]:
        links = re.findall(r"\]\(\.\./(examples/[^)]+)\)", python + options)
        listed |= {ROOT / link for link in links}
        counts = [_lines(ROOT / link) for link in links]
        assert counts == [int(count) for count in (python_lines, option_lines) if count != "0"], part
    modules = {file for file in (EXAMPLE / "my_package").glob("*.py") if file.name != "__init__.py"}
    assert listed == modules | set((EXAMPLE / "conf").rglob("*.yaml"))


@pytest.mark.parametrize("file", sorted((EXAMPLE / "my_package").glob("[!_]*.py")), ids=lambda file: file.stem)
def test_a_part_is_one_class_and_uses_public_names(file: Path) -> None:
    tree = ast.parse(file.read_text())
    definitions = [type(node) for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    assert definitions == ([ast.FunctionDef] * 2 if file.stem == "adversarial" else [ast.ClassDef])
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("deblurlab"):
            assert str(node.module).count(".") == 1, "a module within a package isn't public"
            assert not any(alias.name.startswith("_") for alias in node.names)


def _run(command: str, *more: str) -> None:
    """Run a command of the example's README in this process."""
    program, *arguments = shlex.split(command.replace("examples/", f"{ROOT}/examples/"))
    assert program == "deblurlab"
    expanded = [sorted(map(str, Path().glob(word))) if "/*" in word else [word] for word in arguments]
    sys.argv = [program, *chain.from_iterable(expanded), *more]
    main()


def _command(*words: str) -> str:
    """Return the README's command that contains these words."""
    (found,) = [command for command in COMMANDS if all(word in command for word in words)]
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Empty working directory, with the environment of the README."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        patch.setattr(sys, "argv", sys.argv)
        for name, value in (command.removeprefix("export ").split("=") for command in COMMANDS if "export" in command):
            patch.setenv(name, value.replace("examples/", f"{ROOT}/examples/"))
        patch.syspath_prepend(EXAMPLE)
        yield Path.cwd()


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    """Run folder of a training that was stopped after two steps and resumed."""
    command, step = _command("deblurlab train", "experiment=mine"), PairedRestoration.training_step

    def stopped(self: PairedRestoration, batch: dict, batch_idx: int) -> object:
        if self.global_step == 2:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)  # type: ignore[arg-type]

    short = [*SHORT, "callbacks.checkpoints.every=2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PairedRestoration, "training_step", stopped)
        with pytest.raises(SystemExit) as end:
            _run(command, *short)
    assert end.value.code == 130
    _run(command, *short)
    return folder / "runs" / "mine"


def test_all_parts_train_and_resume(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    training = [row for row in rows if row["loss/focused"]]
    assert [int(row["step"]) for row in training] == [1, 2, 3, 4]
    for name in ("loss/adv_total_variation", "loss/discriminator_adv_total_variation", "weight_norm"):
        assert all(row[name] for row in training), name
    assert len([row for row in rows if row["val/mae"]]) == 2
    results = json.loads((run / "results.json").read_text())
    assert results["steps"] == 4
    assert results["metrics"]["mae"]["unit"] == "levels"
    assert results["sets"]["test"]["mae"] > 0
    assert "my_package" in results["sources"]


def test_parts_by_hand(folder: Path) -> None:
    cfg = compose(
        "experiment=mine", "loss=focused+adv_total_variation", "optimizer.lr=0.25", config_dirs=[EXAMPLE / "conf"]
    )
    half, zero = torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)
    focused, adversarial = (instantiate({k: v for k, v in node.items() if k != "weight"}) for node in cfg.loss.values())
    assert focused(restored=half, sharp=zero, blurred=half).item() == pytest.approx((1 + 4 * 0.5) * 0.5)
    real, fake = (DiscriminatorOutput([torch.full((1, 1, 2, 2), x)], []) for x in (2.0, -1.0))
    assert adversarial.generator_loss(None, fake).item() == pytest.approx(-math.tanh(-1) / 2)
    assert adversarial.discriminator_loss(real, fake).item() == pytest.approx((math.tanh(-1) - math.tanh(2)) / 2)
    assert instantiate(cfg.metric.mae)(half, zero).item() == pytest.approx(127.5)
    weight = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))
    weight.grad = torch.tensor([-3.0, 0.0, 0.1])
    instantiate(cfg.optimizer)["generator"]([weight]).step()
    assert weight.tolist() == [1.25, 1.0, 0.75]


def test_existing_classes_need_no_python() -> None:
    cfg = compose(
        "model=unet_res_small", "loss=l1", "+loss.huber._target_=torch.nn.HuberLoss", "+loss.huber.delta=0.5",
        "optimizer=sgd", "optimizer.generator._target_=torch.optim.ASGD", "~optimizer.generator.momentum",
        "+metric.uqi._target_=torchmetrics.image.UniversalImageQualityIndex",
        "+augment.degradations=[{_target_: albumentations.InvertImg, p: 1.0}]", "augment.size=4",
    )  # fmt: skip
    module = build(cfg)
    values = {"restored": torch.full((1, 3, 2, 2), 2.0), "sharp": torch.zeros(1, 3, 2, 2)}
    assert module.terms["huber"](*values.values()).item() == pytest.approx(0.5 * (2 - 0.25))
    assert type(instantiate(cfg.optimizer)["generator"](module.parameters())) is torch.optim.ASGD
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert instantiate(cfg.metric.uqi)(image, image).item() == pytest.approx(1, abs=1e-4)
    pixels = np.full((4, 4, 3), 10, np.uint8)
    assert [image.max() for image in instantiate(cfg.augment)(pixels, pixels, key=(0, 0, 0))] == [245, 10]


def test_the_augmentation_transforms_both_images_alike(folder: Path) -> None:
    transform = instantiate(
        compose("augment=permute_channels", "augment.size=5", config_dirs=[EXAMPLE / "conf"]).augment
    )
    image = np.arange(9 * 7 * 3, dtype=np.uint8).reshape(9, 7, 3)
    results = [transform(image, 255 - image, key=(0, epoch, 0)) for epoch in (0, 0, 1)]
    for blurred, sharp in results:
        assert blurred.shape == (5, 5, 3)
        assert np.array_equal(sharp, 255 - blurred)
        assert sorted(blurred[0, 0] % 3) == [0, 1, 2]  # of the three channels of one pixel
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_the_data_set_is_checked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        _run(_command("data check"))
    assert end.value.code == 0
    table = capsys.readouterr().out
    assert re.search(r"train +│ 2 +│ - +│ 451x300, 512x512", table)
    assert re.search(r"val +│ 1 +│ - +│ 600x400", table)
    assert re.search(r"test +│ 1 +│ - +│ 640x427", table)


def test_restorers_are_evaluated_and_compared(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(_command("evaluate"))
    table = capsys.readouterr().out
    assert "MAE" in table
    files = list(Path("runs/evaluations").glob("*/results.json"))
    measured = {file.parent.name: json.loads(file.read_text()) for file in files}
    assert len(measured) == 3
    trained = next(results for name, results in measured.items() if "mine" in name)
    assert trained["sets"]["test"]["mae"] == pytest.approx(
        json.loads((run / "results.json").read_text())["sets"]["test"]["mae"], abs=1e-3
    )
    sharpened = next(results for name, results in measured.items() if "unsharp" in name)
    sharp = skimage.data.rocket()
    blurred = uniform_filter(sharp, (5, 5, 1)) / 255
    masked = blurred + (blurred - gaussian_filter(blurred, (2, 2, 0), truncate=3, mode="mirror"))
    expected = peak_signal_noise_ratio(sharp, (255 * masked.clip(0, 1)).round().astype(np.uint8))
    assert sharpened["sets"]["test"]["psnr"] == pytest.approx(expected, abs=1e-4)
    _run(_command("report compare"))
    assert "MAE" in capsys.readouterr().out


def test_photographs_are_restored(run: Path) -> None:
    Path("photos").mkdir()
    Image.new("RGB", (51, 37), "grey").save("photos/odd.png")  # the network needs even sides
    with pytest.raises(SystemExit) as end:
        _run(_command("deblurlab restore"))
    assert end.value.code == 0
    assert Image.open("restored/odd.png").size == (51, 37)


def test_weights_are_not_read_without_trust(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBLURLAB_TRUST")
    with pytest.raises(SystemExit, match="--trust my_package"):
        _run(_command("deblurlab restore").replace("-o restored", "-o other"))


def test_without_python_path_one_line_names_the_module(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(EXAMPLE)])
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit, match="there is no module my_package; is PYTHONPATH set\\?"):
        _run(_command("deblurlab train").replace("name=mine", "name=other"))
