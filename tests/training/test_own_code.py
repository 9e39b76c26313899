"""Runs with classes from outside: what they train, record, reuse and lock."""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.callbacks import EMA
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.load import generator_weights
from deblurlab.runs.environment import source_revisions
from deblurlab.runs.folder import Run
from deblurlab.runs.untrusted import parse_json

Train = Callable[..., Path]
MODULE = """
import json
import torch
import pytorch_lightning as pl
from deblurlab.callbacks import EMA
from pytorch_lightning.loggers.logger import DummyLogger


class MyLogger(DummyLogger):
    def log_metrics(self, metrics, step=None):
        with open("logged.jsonl", "a") as file:
            print(json.dumps([step, sorted(metrics)]), file=file)


class Steps(pl.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        module.log("own/batch", float(trainer.global_step))

    def on_train_epoch_end(self, trainer, module):
        module.log("own/epoch", float(trainer.global_step))


class MyEMA(EMA):
    pass


class LearnedWeight(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.log_variance = torch.nn.Parameter(torch.zeros(()))

    def forward(self, restored, sharp):
        return (restored - sharp).abs().mean() * (-self.log_variance).exp() + self.log_variance
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a module `own_code` on the path, in a git repository of its own."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "own_code.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "own_code", raising=False)
    identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    return folder / "own_code.py"


def test_averages_of_a_subclass_of_ema_are_the_weights_that_are_tested(train: Train, package: Path) -> None:
    own = train("callbacks.ema._target_=own_code.MyEMA", "callbacks.ema.decay=0.5", "name=own")
    usual = train("callbacks.ema.decay=0.5", "name=usual")
    checkpoint = read_checkpoint(Run(own.with_name("own")).best_checkpoint)
    average = checkpoint["callbacks"][EMA(decay=0.5).state_key]["average"]
    raw = {name.removeprefix("generator."): value for name, value in checkpoint["state_dict"].items()}
    assert any(not torch.equal(value, raw[name]) for name, value in average.items())
    weights = [generator_weights(usual.with_name(name)) for name in ("own", "usual")]
    for name, value in average.items():
        assert torch.equal(weights[0][name], value)
        assert torch.equal(weights[1][name], value)
    results = [parse_json((usual.with_name(name) / "results.json").read_text()) for name in ("own", "usual")]
    assert results[0]["sets"] == results[1]["sets"]


def test_parameters_of_a_loss_term_are_trained_and_stored(train: Train, package: Path) -> None:
    """Adam's first step is the learning rate, against the gradient's sign; the gradient is 1 - L1, above 0."""
    run = train(
        "+loss.own._target_=own_code.LearnedWeight", "+loss.own.weight=1", "optimizer.lr=1e-3", "scheduler=constant",
        "trainer.max_steps=1", "trainer.val_check_interval=1",
    )  # fmt: skip
    checkpoint = read_checkpoint(run / "checkpoints" / "last.ckpt")
    learned = {name: value for name, value in checkpoint["state_dict"].items() if "log_variance" in name}
    assert [value.item() for value in learned.values()] == [pytest.approx(-1e-3, rel=1e-3)]


def test_values_of_callbacks_are_logged_with_the_losses_of_their_step(train: Train, package: Path) -> None:
    run = train(
        "+callbacks.own._target_=own_code.Steps", "+logger.own._target_=own_code.MyLogger", "trainer.max_steps=7",
        "trainer.log_every_n_steps=2", curves=True,
    )  # fmt: skip
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = [(row["step"], row["own/batch"]) for row in rows if row["loss/l1"]]
    assert values == [("2", "2.0"), ("4", "4.0"), ("6", "6.0")]
    assert all((row["own/batch"] != "") == (row["loss/l1"] != "") for row in rows)
    ends = [(row["step"], row["own/epoch"]) for row in rows if row["own/epoch"]]
    assert len(ends) > 1
    assert all(float(step) == float(value) for step, value in ends)
    logged = [json.loads(line) for line in Path("logged.jsonl").read_text().splitlines()]
    assert [step for step, names in logged if {"own/batch", "loss/l1", "lr/generator"} <= set(names)] == [2, 4, 6]
    assert "<!-- own/batch -->" in (run / "report.html").read_text()


def test_a_factor_needs_a_term_of_its_name(train: Train, package: Path) -> None:
    folder = package.parent / "conf" / "loss"
    folder.mkdir(parents=True)
    (folder / "differs.yaml").write_text("other:\n  _target_: deblurlab.losses.L1\n  weight: 1\n")
    arguments = ["--config-dir", str(package.parent / "conf")]
    with pytest.raises(
        SystemExit, match=r"loss=mse\+0.1\*differs: .* differs.yaml must contain the key differs, .* the"
    ):
        train(*arguments, "loss=mse+0.1*differs")
    assert not Path("runs").exists()
    train(*arguments, "loss=mse+differs")


def test_a_finished_run_says_so_and_whether_its_code_changed(
    train: Train, package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["callbacks.ema._target_=own_code.MyEMA"]
    run = train(*arguments)
    results = parse_json((run / "results.json").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=package.parent, capture_output=True, text=True).stdout
    source = results["sources"]["own_code"]
    assert (source["commit"], source["modified"]) == (head.strip(), False)
    assert results["sources"].keys() == {"own_code"}

    def again(*more: str) -> str:
        capfd.readouterr()
        train(*arguments, *more)
        return capfd.readouterr().err

    finished = re.escape(f"runs/run finished {results['finished']}")
    assert re.search(rf"{finished}; these are its results\. fresh=true trains anew\.", again())
    package.write_text(MODULE + "\n# changed\n")
    assert re.search(rf"{finished}; the code of own_code has changed since; these are its results", again())
    assert "finished" not in again("fresh=true")
    source = parse_json((run / "results.json").read_text())["sources"]["own_code"]
    assert source["modified"] is True


def test_a_resumed_run_says_that_its_code_changed_and_keeps_both_revisions(
    train: Train, package: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["callbacks.ema._target_=own_code.MyEMA"]
    run = train(*arguments)
    first = parse_json((run / "results.json").read_text())["sources"]
    assert first.keys() == {"own_code"}
    (run / "results.json").unlink()
    train(*arguments)
    assert "has changed" not in capfd.readouterr().err
    (run / "results.json").unlink()
    package.write_text(MODULE + "\n# changed\n")
    train(*arguments)
    assert "The code of own_code has changed since runs/run was interrupted" in capfd.readouterr().err
    results = parse_json((run / "results.json").read_text())
    assert results["earlier_sources"] == [first]
    assert results["sources"] != first


def test_a_damaged_environment_file_is_one_line(train: Train) -> None:
    run = train()
    (run / "results.json").unlink()
    (run / "environment.json").write_text("{")
    with pytest.raises(SystemExit, match=r"runs/run/environment.json is damaged \(.*\): delete it"):
        train()
    assert (run / "checkpoints" / "last.ckpt").exists()


def test_packages_without_init_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "without_init").mkdir()
    (tmp_path / "without_init" / "terms.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = source_revisions({"loss": [{"_target_": "without_init.terms.Own"}], "model": {"_target_": "torch.nn.ReLU"}})
    assert found.keys() == {"without_init"}
    assert found["without_init"]["sha256"] == hashlib.sha256(b"x = 1\n").hexdigest()


def test_a_training_without_a_validation_says_that_nothing_was_chosen(
    train: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    run = train("trainer.val_check_interval=10", "trainer.max_steps=3")
    assert "gave callbacks.checkpoints.monitor=val/psnr a finite value: there is no best.ckpt" in capfd.readouterr().err
    assert not (run / "checkpoints" / "best.ckpt").exists()


def test_resuming_and_loading_say_from_which_step(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    run = train()
    (run / "results.json").unlink()
    train()
    train("init=runs/run", "name=second")
    train("ckpt=runs/run", "name=third", "trainer.max_steps=5")
    errors = capfd.readouterr().err
    assert "Resuming runs/run from runs/run/checkpoints/last.ckpt at step 3." in errors
    assert "Starting from the weights of runs/run/checkpoints/best.ckpt at step 3." in errors
    assert "Resuming runs/third from runs/run/checkpoints/last.ckpt at step 3." in errors


def test_a_run_folder_is_used_by_one_process(train: Train) -> None:
    with Run(Path("runs/run")).lock():
        message = f"runs/run is in use by process {os.getpid()} on .*, started .*: wait for it, or choose another name="
        with pytest.raises(SystemExit, match=message):
            train()
    assert not Path("runs").exists()
    run = train()
    assert {path.name for path in run.glob(".lock*")} <= {".lock"}
    killed = "import os; from pathlib import Path; from deblurlab.runs.folder import Run\n"
    killed += "with Run(Path('runs/run')).lock(): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", killed]).returncode == -9
    with Run(run).lock():  # the lock of a killed process has ended with it
        pass
