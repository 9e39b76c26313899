"""Handling of NaN and infinity, and detection of adversarial training that has failed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.callbacks import Collapse, NonFinite
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.losses import L1, Adv
from steps import Poisoned, fit, module, same, state

Train = Callable[..., Path]


@pytest.fixture
def poisoned(train: Train, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def run(*overrides: str, steps: int = 1) -> Path:
        monkeypatch.setattr(Poisoned, "calls", 0)
        monkeypatch.setattr(Poisoned, "steps", steps)
        return train(
            "loss.l1._target_=steps.Poisoned", "trainer.max_steps=6", "trainer.val_check_interval=6", *overrides
        )

    return run


def test_policy_stop_ends_the_training_and_the_last_checkpoint_is_finite(poisoned: Callable[..., Path]) -> None:
    with pytest.raises(SystemExit, match=r"loss/l1 was not finite at step 3, .*stopped; .*last\.ckpt.*lower"):
        poisoned("callbacks.checkpoints.every=2")
    checkpoint = read_checkpoint(Path("runs/run/checkpoints/last.ckpt"))
    assert checkpoint["global_step"] == 2
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())


def test_policy_skip_skips_the_batch_and_counts_it(
    poisoned: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    run = poisoned("callbacks.nonfinite.policy=skip")
    assert json.loads((run / "results.json").read_text())["steps"] == 6
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert state["callbacks"]["NonFinite"]["skipped"] == 1
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    messages = capfd.readouterr().err
    assert "loss/l1 was not finite at step 3, whose update was skipped" in messages
    assert "(skipped since the last check: 1, in total: 1)" in messages


def test_policy_skip_ends_after_the_maximum_of_consecutive_steps(poisoned: Callable[..., Path]) -> None:
    with pytest.raises(SystemExit, match=r"at step 5, .*training stopped"):
        poisoned("callbacks.nonfinite.policy=skip", "callbacks.nonfinite.max_consecutive=3", steps=99)


def test_policy_rollback_resumes_with_a_lower_learning_rate(
    poisoned: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["callbacks.nonfinite.policy=rollback", "callbacks.checkpoints.every=2", "scheduler=constant"]
    run = poisoned(*options)
    last = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 6
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(1e-4)
    assert last["callbacks"]["NonFinite"]["returns"] == 1
    assert "rolling back to the last checkpoint with the learning rates multiplied by 0.5" in capfd.readouterr().err
    steps = [line.split(",")[0] for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == ["1", "2", "3", "4", "5", "6", "6", "6"]  # validation, test


def test_policy_rollback_ends_after_the_maximum_of_rollbacks(poisoned: Callable[..., Path]) -> None:
    options = [
        "callbacks.nonfinite.policy=rollback",
        "callbacks.checkpoints.every=2",
        "callbacks.nonfinite.max_rollbacks=2",
    ]
    with pytest.raises(SystemExit, match="stopped after 2 rollbacks"):
        poisoned(*options, steps=99)


def test_invalid_settings_are_errors() -> None:
    for options, message in (
        ({"policy": "hope"}, "policy=hope is unknown: stop, skip, rollback"),
        ({"every": 0}, "at least 1"),
        ({"factor": 2.0}, "between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            NonFinite(folder="", **options)  # type: ignore[arg-type]


def test_a_term_of_weight_0_may_be_nonfinite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Poisoned, "calls", 0)
    trained, plain = (
        module({"l1": L1(), "unweighted": Poisoned()}, weights={"l1": 1.0, "unweighted": 0.0}),
        module({"l1": L1()}),
    )
    fit(trained, 4, NonFinite(folder=str(tmp_path), every=1))
    fit(plain, 4)
    assert Poisoned.calls == 4  # it was NaN in the third step
    assert same(state(trained.generator), state(plain.generator))


@pytest.mark.parametrize(("accuracy", "expected"), [(1.0, "correctly"), (0.0, "incorrectly"), (0.5, None)])
def test_an_accuracy_of_0_or_1_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, accuracy: float, expected: str | None
) -> None:
    trained = module({"l1": L1(), "adv": Adv()})
    monkeypatch.setattr(trained, "accuracies", lambda: {"discriminator": torch.tensor(accuracy)})
    fit(trained, 6, Collapse(steps=4, every=1))
    found = [record.getMessage() for record in caplog.records if "classified every image" in record.getMessage()]
    assert len(found) == (expected is not None)
    assert all(f"step 4: the discriminator has classified every image {expected} for 4 steps" in line for line in found)
