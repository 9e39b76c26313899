"""Validation and logging of the training on pairs."""

from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from deblurlab.losses import L1, MSE
from steps import BATCHES, fit, module


class Shift(nn.Module):
    """x -> x + bias."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, blurred: Tensor) -> Tensor:
        return blurred + self.bias


def _uniform(level: int) -> Tensor:
    return torch.full((1, 3, 16, 16), level, dtype=torch.uint8)


@pytest.mark.parametrize(("level", "bias", "restored"), [(51, 0.3, 0.5), (204, 0.3, 1.0), (51, -0.3, 0.0)])
def test_a_validation_step_logs_losses_and_returns_clamped_images(
    monkeypatch: pytest.MonkeyPatch, level: int, bias: float, restored: float
) -> None:
    trained, logged = module({"l1": L1(), "mse": MSE()}, generator=Shift(bias)), []
    monkeypatch.setattr(trained, "log_dict", lambda *values, **options: logged.append((*values, options)))
    batch: Any = {"blurred": _uniform(level), "sharp": _uniform(102)}
    image = trained.validation_step(batch, 0)
    torch.testing.assert_close(image, torch.full((1, 3, 16, 16), restored))
    ((values, options),) = logged
    difference = level / 255 + bias - 0.4  # the losses are those of the training, without clamping
    assert {name: float(value) for name, value in values.items()} == {
        "val/loss/l1": pytest.approx(abs(difference)), "val/loss/mse": pytest.approx(difference**2), "step": 0,
    }  # fmt: skip
    assert options == {"batch_size": 1, "sync_dist": True}
    row = trained.views(batch, image)
    assert [round(each.mean().item(), 4) for each in row] == [level / 255, restored, 0.4]
    assert {each.shape for each in row} == {(3, 16, 16)}


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_loss_of_a_batch_is_the_mean_over_its_images(accumulate: int) -> None:
    seen: list[float] = []

    class Values(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
            seen.append(outputs["l1"].item())

    fit(module({"l1": L1()}, generator=Shift(0.0), accumulate=accumulate), 1, Values())
    blurred, sharp = (BATCHES[0][key] / 255 for key in ("blurred", "sharp"))
    assert seen == [pytest.approx((blurred - sharp).abs().mean().item())]


@pytest.mark.parametrize(("interval", "length"), [("step", 9), ("epoch", 2)])
def test_schedulers_get_the_length_of_the_training_in_their_unit(interval: str, length: int) -> None:
    """An epoch has 6 batches; a part of one counts as one."""
    totals: list[int] = []

    def make(optimizer: torch.optim.Optimizer, total: int) -> torch.optim.lr_scheduler.LRScheduler:
        totals.append(total)
        return torch.optim.lr_scheduler.ConstantLR(optimizer)

    fit(module({"l1": L1()}, scheduler={"generator": make}, interval=interval), 9)
    assert totals == [length]
