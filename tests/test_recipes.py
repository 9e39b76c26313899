"""Every choice trains: loss expressions, recipes, optimizers and schedulers."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from deblurlab.config.sums import parse_sum
from deblurlab.training.build import build
from steps import BATCHES, fit, state
from support import SMALL, config, option_names, small

Train = Callable[..., Path]
QUICK = ["+debug=smoke", "name=run", "data.train=4", "trainer.limit_test_batches=1", "++loss.vgg.layers=[relu1_2]"]


@pytest.mark.parametrize("experiment", option_names("experiment"))
def test_a_recipe_runs_3_steps(experiment: str, train: Train, data_root: Path) -> None:
    chosen = f"experiment={experiment}"
    run = train(chosen, *QUICK, f"data.root={data_root}", *small(chosen), smoke=False)
    results = json.loads((run / "results.json").read_text())
    assert results["steps"] == 3
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


def _module(expression: str) -> str:
    """Return the module that has the generators a term needs."""
    return (
        "cycle"
        if {"cycle", "identity"} & {name for name, _ in parse_sum(expression) or [(expression, None)]}
        else "paired"
    )


def _expressions(count: int) -> list[str]:
    """Sums of up to four terms, with and without weights; every term comes once in each round of the deck."""
    rng, deck, drawn = random.Random(0), [], []
    while len(drawn) < count:
        chosen: list[str] = []
        for _ in range(rng.randint(1, 4)):
            deck = deck or rng.sample(option_names("loss"), len(option_names("loss")))
            name = next((n for n in deck if n not in chosen), None)
            if name is not None:
                deck.remove(name)
                chosen.append(name)
        weights = [rng.choice(["", "", "0.5*", "1e-2*", "2*", "0*"]) for _ in chosen]
        if all(weight == "0*" for weight in weights):
            weights[0] = ""
        drawn.append("+".join(weight + name for weight, name in zip(weights, chosen, strict=True)))
    return drawn


EXPRESSIONS = _expressions(26)


def test_every_term_is_drawn_in_sums_of_all_lengths() -> None:
    drawn = [{name for name, _ in parse_sum(e) or [(e, None)]} for e in EXPRESSIONS]
    assert set().union(*drawn) == set(option_names("loss"))
    assert {len(names) for names in drawn} == {1, 2, 3, 4}


@pytest.mark.parametrize(
    "expression", [*EXPRESSIONS[:12], *(pytest.param(e, marks=pytest.mark.slow) for e in EXPRESSIONS[12:])]
)
def test_any_loss_expression_trains_2_steps(expression: str, train: Train) -> None:
    run = train(
        f"loss={expression}", f"module={_module(expression)}", "trainer.max_steps=2", "trainer.val_check_interval=2",
        "trainer.limit_test_batches=1",
    )  # fmt: skip
    results = json.loads((run / "results.json").read_text())
    assert results["steps"] == 2
    rows = (run / "metrics.csv").read_text().splitlines()
    logged = {name.removeprefix("loss/") for name in rows[0].split(",") if name.startswith("loss/")}
    names = {name for name, _ in parse_sum(expression) or [(expression, None)]}
    assert names <= {name.removesuffix("_sharp") for name in logged}
    weights = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize("discriminator", option_names("discriminator"))
def test_any_discriminator_trains(discriminator: str, train: Train, data_root: Path) -> None:
    chosen = f"discriminator={discriminator}"
    run = train(chosen, "loss=l1+adv+feature_matching", *QUICK, f"data.root={data_root}", *small(chosen), smoke=False)
    assert json.loads((run / "results.json").read_text())["steps"] == 3


@pytest.mark.parametrize("optimizer", option_names("optimizer"))
def test_any_optimizer_changes_generator_and_discriminator(optimizer: str) -> None:
    weights: list[dict[str, Tensor]] = []

    class Note(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: object) -> None:
            weights.append(state(pl_module))

    trained = build(config(f"optimizer={optimizer}", "loss=l1+adv", *SMALL))
    fit(trained, 3, Note())
    for network in ("generator.", "discriminator."):
        moved = [not torch.equal(value, weights[2][k]) for k, value in weights[1].items() if k.startswith(network)]
        assert any(moved)


@pytest.mark.parametrize("scheduler", option_names("scheduler"))
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_any_scheduler_runs_by_step_and_by_epoch(scheduler: str, interval: str) -> None:
    options = {"decay": ["scheduler.every=2"], "milestones": ["scheduler.milestones=[2]"]}.get(scheduler, [])
    trained = build(config(f"scheduler={scheduler}", f"scheduler.interval={interval}", *options, *SMALL, "loss=l1"))
    trainer = fit(trained, 3, loader=DataLoader(BATCHES[:2], batch_size=None))  # type: ignore[arg-type]
    # Two batches make an epoch: of three steps, one epoch is over.
    done, total = (3, 3) if interval == "step" else (1, 2)
    last = {
        "constant": 1.0, "decay": 0.9 if done >= 2 else 1.0, "milestones": 0.5 if done >= 2 else 1.0,
        "linear": 1 - done / total, "poly": (1 - done / total) ** 0.9,
        "cosine": (1 + math.cos(math.pi * done / total)) / 2,
    }  # fmt: skip
    (group,) = trainer.optimizers[0].param_groups
    assert group["lr"] == pytest.approx(2e-4 * last[scheduler], abs=2e-7)


def test_generator_and_discriminator_can_have_different_schedulers(train: Train) -> None:
    run = train(
        "loss=l1+adv", "scheduler=linear", "scheduler.interval=step", "scheduler.discriminator.final=1e-4",
        "optimizer.discriminator.lr=4e-4", "trainer.limit_test_batches=1",
    )  # fmt: skip
    groups = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"]
    assert [group["param_groups"][0]["lr"] for group in groups] == pytest.approx([0.0, 1e-4])
