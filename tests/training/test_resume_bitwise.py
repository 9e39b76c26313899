"""Content of checkpoints, and exact resuming from them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn

from deblurlab.callbacks import EMA
from deblurlab.checkpoints.io import read_checkpoint
from deblurlab.checkpoints.load import generator_weights, load_generator
from deblurlab.errors import UserError
from deblurlab.losses import L1, VGG
from deblurlab.models import UNetRes
from steps import fit, module, same, state


def test_a_checkpoint_holds_plain_data_and_no_frozen_network(tmp_path: Path) -> None:
    trained = module({"l1": L1(), "vgg": VGG(layers=["relu1_1"], weights="random")}, record={"seed": 0, "loss": {}})
    trainer = fit(trained, 1)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    content = read_checkpoint(tmp_path / "a.ckpt")  # with weights_only
    assert content["record"] == {"seed": 0, "loss": {}}
    assert not [name for name in content["state_dict"] if name.startswith("terms.")]
    assert content["global_step"] == 1


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    through, first, second = module(), module(), module()
    fit(through, 6, average := EMA())
    fit(first, 3, EMA()).save_checkpoint(tmp_path / "a.ckpt")
    torch.nn.init.ones_(second.generator.head.weight)
    ema = EMA()
    trainer = pl.Trainer(
        max_steps=6, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[ema],
    )  # fmt: skip
    from steps import BATCHES

    class Rest:
        """The batches that the keyed sampler gives after three steps."""

        def __iter__(self) -> Iterator[Any]:
            return iter(BATCHES[3:])

        def __len__(self) -> int:
            return len(BATCHES)

    trainer.fit(second, Rest(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert trainer.global_step == 6
    assert same(state(through), state(second))
    assert average.state_dict()["updates"] == ema.state_dict()["updates"] == 6
    assert same(average.state_dict()["average"], ema.state_dict()["average"])


def test_ema_follows_its_formula_and_is_used_in_evaluation_only(tmp_path: Path) -> None:
    trained, weights = module({"l1": L1()}), []
    start = state(trained.generator)["stem.weight"]

    class Note(pl.Callback):
        def on_train_batch_end(self, *args: object) -> None:
            weights.append(state(trained.generator)["stem.weight"])

    ema = EMA(decay=0.2)
    trainer = fit(trained, 4, Note(), ema)
    expected = start
    for n, value in enumerate(weights):
        decay = min(0.2, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    average = ema.state_dict()["average"]["stem.weight"]
    torch.testing.assert_close(average, expected, rtol=1e-5, atol=1e-7)

    ema.on_validation_start(trainer, trained)  # the trainer's state still says that it was fitting
    assert torch.equal(trained.generator.stem.weight, average)
    ema.on_validation_end(trainer, trained)
    assert torch.equal(trained.generator.stem.weight, weights[-1])

    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert torch.equal(generator_weights(tmp_path / "a.ckpt")["stem.weight"], average)


def test_an_average_without_updates_is_not_used() -> None:
    trained, ema, trainer = module({"l1": L1()}), EMA(), pl.Trainer(logger=False, enable_checkpointing=False)
    trainer.state.fn = TrainerFn.FITTING
    ema.on_fit_start(trainer, trained)
    torch.nn.init.ones_(trained.generator.stem.weight)
    current = state(trained)
    ema.on_validation_start(trainer, trained)
    assert same(current, state(trained))
    ema.on_train_batch_end(trainer, trained)
    ema.on_validation_start(trainer, trained)
    assert not same(current, state(trained))
    with pytest.raises(ValueError, match="must be in"):
        EMA(decay=1.0)


def test_weights_of_another_model_are_rejected(tmp_path: Path) -> None:
    trained = module({"l1": L1()})
    fit(trained, 1).save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.ckpt belong to another model"):
        load_generator(UNetRes(width=8), tmp_path / "a.ckpt")


def test_damaged_untrusted_and_missing_files_are_rejected(tmp_path: Path) -> None:
    good = tmp_path / "good.ckpt"
    fit(module({"l1": L1()}), 1).save_checkpoint(good)
    (tmp_path / "short.ckpt").write_bytes(good.read_bytes()[:1000])
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.ckpt")
    torch.save({"state_dict": {}, "evil": Path("/")}, tmp_path / "code.ckpt")
    for name, message in (
        ("short", "can't be read as a checkpoint"), ("other", "isn't a checkpoint of deblurlab"),
        ("code", "can't be read as a checkpoint"), ("missing", "there is no checkpoint"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=message):
            read_checkpoint(tmp_path / f"{name}.ckpt")
