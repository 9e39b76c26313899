"""What becomes of a training whose numbers go wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from deblurlab.callbacks import Collapse, NonFinite
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.discriminators import DiscriminatorOutput
from deblurlab.losses import L1, Adv
from steps import Poisoned, fit, module, state

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


def test_a_training_stops_and_its_last_state_is_sound(poisoned: Callable[..., Path]) -> None:
    with pytest.raises(SystemExit, match=r"loss/l1 was no finite number at step 3, .*stopped; .*last\.ckpt.*lower"):
        poisoned("callbacks.checkpoints.every=2")
    kept = read_checkpoint(Path("runs/run/checkpoints/last.ckpt"))
    assert kept["global_step"] == 2
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


def test_a_batch_is_skipped_and_counted(poisoned: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    run = poisoned("callbacks.nonfinite.policy=skip")
    assert json.loads((run / "results.json").read_text())["steps"] == 6
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert state["callbacks"]["NonFinite"]["skipped"] == 1
    assert all(value.isfinite().all() for value in state["state_dict"].values())
    assert (
        "loss/l1 was no finite number at step 3, which wasn't taken (1 since the last look, 1 in all)"
        in capfd.readouterr().err
    )


def test_nothing_but_bad_steps_is_not_skipped_for_ever(poisoned: Callable[..., Path]) -> None:
    with pytest.raises(SystemExit, match=r"at step 5, .*the training stopped"):
        poisoned("callbacks.nonfinite.policy=skip", "callbacks.nonfinite.max_consecutive=3", steps=99)


def test_a_training_goes_back_with_a_lower_rate(
    poisoned: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["callbacks.nonfinite.policy=rollback", "callbacks.checkpoints.every=2", "scheduler=constant"]
    run = poisoned(*options)
    last = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert last["global_step"] == 6
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(1e-4)
    assert last["callbacks"]["NonFinite"]["returns"] == 1
    assert "goes back to its last checkpoint, with learning rates times 0.5" in capfd.readouterr().err
    steps = [line.split(",")[0] for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == ["1", "2", "3", "4", "5", "6", "6", "6"]  # validation, test


def test_a_training_goes_back_so_often_and_no_more(poisoned: Callable[..., Path]) -> None:
    options = [
        "callbacks.nonfinite.policy=rollback",
        "callbacks.checkpoints.every=2",
        "callbacks.nonfinite.max_rollbacks=2",
    ]
    with pytest.raises(SystemExit, match="stopped again after going back 2 times"):
        poisoned(*options, steps=99)


def test_settings_that_cannot_be_are_refused() -> None:
    for options, message in (
        ({"policy": "hope"}, "policy=hope is unknown: stop, skip, rollback"),
        ({"every": 0}, "at least 1"),
        ({"factor": 2.0}, "between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            NonFinite(folder="", **options)  # type: ignore[arg-type]


def test_a_term_without_weight_may_be_anything(tmp_path: Path) -> None:
    trained = module({"l1": L1(), "watched": Poisoned()}, weights={"l1": 1.0, "watched": 0.0})
    before = state(trained)
    fit(trained, 4, NonFinite(folder=str(tmp_path), every=1))
    assert not all(torch.equal(before[name], value) for name, value in state(trained).items())


@pytest.mark.parametrize(("accuracy", "said"), [(1.0, "right"), (0.0, "wrong"), (0.5, None)])
def test_a_discriminator_that_has_won_or_lost_is_told_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, accuracy: float, said: str | None
) -> None:
    trained = module({"l1": L1(), "adv": Adv()})
    monkeypatch.setattr(trained._adversaries["sharp"], "_measured", lambda real, fake: torch.tensor(accuracy))
    fit(trained, 6, Collapse(steps=4, every=1))
    found = [record.getMessage() for record in caplog.records if "tells every image" in record.getMessage()]
    assert len(found) == (said is not None)
    assert all(f"step 4: for 4 steps the discriminator tells every image {said}" in line for line in found)


def test_accuracy_is_the_share_of_logits_on_the_right_side() -> None:
    adversary = module({"l1": L1(), "adv": Adv()})._adversaries["sharp"]
    real = DiscriminatorOutput(logits=[torch.tensor([1.0, 2.0, -1.0, 3.0])], features=[])
    fake = DiscriminatorOutput(logits=[torch.tensor([1.0, -2.0, -1.0, -3.0])], features=[])
    assert adversary._measured(real, fake) == torch.tensor(6 / 8)
