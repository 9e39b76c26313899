"""Freezing of the backbone."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from deblurlab.callbacks import FreezeBackbone
from deblurlab.losses import L1
from steps import BATCHES, Loader, fit, module, same, state


class WithBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.head = nn.Conv2d(3, 3, 1)

    def forward(self, blurred: Tensor) -> Tensor:
        return self.head(self.backbone(blurred))


def test_the_backbone_is_frozen_for_the_given_epochs_and_then_trained() -> None:
    epoch = len(BATCHES)
    for steps, trained in ((epoch, False), (epoch + 1, True)):
        torch.manual_seed(0)
        generator = WithBackbone()
        backbone, head = state(generator.backbone), state(generator.head)
        fit(module({"l1": L1()}, generator=generator), steps, FreezeBackbone(epochs=1))
        assert same(backbone, state(generator.backbone)) is not trained
        assert not same(head, state(generator.head))


def test_the_backbone_stays_frozen_when_an_epoch_is_resumed_in_its_middle(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, second = (module({"l1": L1()}, generator=WithBackbone()) for _ in range(2))
    before, head = state(first.generator.backbone), state(first.generator.head)

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
            if trainer.global_step == 3:
                trainer.save_checkpoint(tmp_path / "a.ckpt")

    fit(first, 4, FreezeBackbone(epochs=1), Save())
    trainer = pl.Trainer(
        max_steps=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[FreezeBackbone(epochs=1)],
    )  # fmt: skip
    trainer.fit(second, Loader(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert trainer.global_step == 5
    assert same(before, state(second.generator.backbone))
    assert not same(head, state(second.generator.head))


def test_a_generator_without_a_backbone_is_not_affected() -> None:
    trained, plain = module({"l1": L1()}), module({"l1": L1()})
    fit(trained, 2, FreezeBackbone(epochs=1)), fit(plain, 2)
    assert same(state(trained.generator), state(plain.generator))
