"""The package in examples/: its commands run from another folder, and docs/extending.md counts its lines."""

import ast
import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import torch
from PIL import Image

from deblurlab.cli import main
from deblurlab.config import CONF
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
        patch.setattr("deblurlab.reporting.page._curves", lambda metrics: [])  # half of the time
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


def test_the_weights_move_by_the_learning_rate_in_each_step(run: Path) -> None:
    """The optimizer of the example changes every weight by `lr`, or not at all where the gradient is 0."""
    contents = [torch.load(run / "checkpoints" / name, weights_only=True) for name in ("previous.ckpt", "last.ckpt")]
    steps = contents[1]["global_step"] - contents[0]["global_step"]
    before, after = (content["state_dict"]["generator.layers.1.weight"] for content in contents)
    moved = ((after - before).abs() / 1e-4).round()
    assert moved.max() <= steps
    assert (steps == 0) == bool((moved == 0).all())


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
    assert sharpened["sets"]["test"]["psnr"] > sharpened["sets"]["test"]["psnr_blurred"]
    _run(_command("report compare"))
    assert "MAE" in capsys.readouterr().out


def test_photographs_are_restored(run: Path) -> None:
    Path("photos").mkdir()
    Image.new("RGB", (51, 37), "grey").save("photos/odd.png")  # the network needs even sides
    _run(_command("restore"))
    assert Image.open("restored/odd.png").size == (51, 37)


def test_weights_are_not_read_without_trust(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBLURLAB_TRUST")
    with pytest.raises(SystemExit, match="--trust my_package"):
        _run(_command("restore").replace("-o restored", "-o other"))


def test_the_python_path_of_the_readme_is_found_in_a_new_process(folder: Path) -> None:
    command = [sys.executable, "-m", "deblurlab", "train", "loss=l1+0.5*focused", "--config-dir"]
    conf = str(EXAMPLE / "conf")
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, conf, "model=unet_res_small", "data=photographs"], env=without, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "there is no module my_package; is PYTHONPATH set?" in done.stderr
    assert "Traceback" not in done.stderr
