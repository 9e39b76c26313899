"""Selection of the checkpoints that a run keeps."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from deblurlab.callbacks import Checkpoints, ImageMetrics, ResumeState
from deblurlab.errors import UserError
from deblurlab.metrics import Measurement, Protocol


class Trainer(SimpleNamespace):
    """Stub that records what is saved where."""

    def __init__(self) -> None:
        super().__init__(state=SimpleNamespace(fn="fit"), sanity_checking=False, global_step=0, saved=[])
        self.callback_metrics: dict[str, Any] = {}
        self.callbacks = [SimpleNamespace()]
        self.loggers: list[Any] = []

    def save_checkpoint(self, path: Path) -> None:
        self.saved.append((self.global_step, path.name))
        state = {"state_dict": {}, "loops": {}, "pytorch-lightning_version": "2.6.0", "global_step": self.global_step}
        torch.save({**state, "callbacks": {"Checkpoints": self.checkpoints.state_dict()}}, path)


def test_last_is_written_every_n_steps_and_before_a_validation(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.checkpoints = checkpoints = Checkpoints(folder=str(tmp_path), every=3)
    for trainer.global_step in range(1, 8):
        checkpoints.on_train_batch_end(trainer)  # type: ignore[arg-type]
    assert trainer.saved == [(3, "last.ckpt"), (6, "last.ckpt")]
    trainer.callbacks, trainer.global_step = [resume_state := ResumeState()], 7
    resume_state.due = True  # a validation follows
    checkpoints.on_train_batch_end(trainer)  # type: ignore[arg-type]
    assert trainer.saved[2:] == [(7, "last.ckpt")]


@pytest.mark.parametrize(("mode", "steps"), [("max", [0, 2]), ("min", [0, 1])])
def test_best_is_written_when_the_metric_improves_also_after_a_resume(
    tmp_path: Path, mode: Any, steps: list[int]
) -> None:
    trainer = Trainer()
    for trainer.global_step, value in enumerate((20.0, 19.0, 21.0, 20.5)):
        trainer.checkpoints = checkpoints = Checkpoints(folder=str(tmp_path), every=100, mode=mode)
        checkpoints.on_fit_start(trainer, None)  # type: ignore[arg-type]
        trainer.callback_metrics = {"val/psnr": torch.tensor(value)}
        checkpoints.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert [step for step, name in trainer.saved if name == "best.ckpt"] == steps


@pytest.mark.parametrize(("higher_is_better", "steps"), [(True, [0, 2]), (False, [0, 1])])
def test_the_metric_says_which_values_are_better(tmp_path: Path, higher_is_better: bool, steps: list[int]) -> None:
    trainer = Trainer()
    node = {"_target_": "torchmetrics.image.TotalVariation", "higher_is_better": higher_is_better}
    trainer.callbacks = [ImageMetrics(Measurement({"mine": node}, Protocol()))]
    trainer.checkpoints = checkpoints = Checkpoints(folder=str(tmp_path), every=100, monitor="val/mine")
    checkpoints.on_fit_start(trainer, None)  # type: ignore[arg-type]
    for trainer.global_step, value in enumerate((20.0, 19.0, 21.0, 20.5)):
        trainer.callback_metrics = {"val/mine": torch.tensor(value)}
        checkpoints.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert [step for step, name in trainer.saved if name == "best.ckpt"] == steps
    assert checkpoints.scores["mine"] == (21 if higher_is_better else 19)


def test_a_monitor_without_a_direction_is_an_error_at_the_start(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=str(tmp_path), every=100, monitor="val/loss/l1")
    with pytest.raises(UserError, match="monitor=val/loss/l1 isn't a metric of metric=; for another logged value set"):
        checkpoints.on_fit_start(Trainer(), None)  # type: ignore[arg-type]


def test_an_unmeasured_monitor_is_an_error_that_lists_the_measured_metrics(tmp_path: Path) -> None:
    trainer = Trainer()
    trainer.callback_metrics = {"val/psnr": torch.tensor(1.0), "val/ssim": torch.tensor(1.0)}
    with pytest.raises(UserError, match="monitor=val/lpips was not measured; validation measured val/psnr, val/ssim"):
        Checkpoints(folder=str(tmp_path), every=1, monitor="val/lpips").on_validation_end(trainer, None)  # type: ignore[arg-type]
