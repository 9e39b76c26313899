"""Which states of a training are kept."""

import math
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from deblurlab.callbacks.resume import ResumeState, validated
from deblurlab.checkpoints.io import whole
from deblurlab.errors import UserError


class Checkpoints(Checkpoint):
    """Keeps `last.ckpt` in `folder`, written every `every` steps and before each validation, to go on from; the one
    before it as `previous.ckpt`; and `best.ckpt`, the state whose validation scored highest (or lowest, with
    `mode="min"`) on the metric `monitor`. If that is None, no state is the best.

    Lightning's ModelCheckpoint would save twice as often as asked under manual optimization and forgets the best score
    when a run's folder has been moved.

    Raises:
        UserError: After a validation: there is no such metric.
    """

    def __init__(
        self, *, folder: str, every: int, monitor: str | None = "val/psnr", mode: Literal["max", "min"] = "max"
    ) -> None:
        self._folder = Path(folder)
        self._every, self._monitor, self._sign = every, monitor, 1 if mode == "max" else -1
        self._best: float | None = None
        self.scores: dict[str, float] = {}
        """What the validation said of `best.ckpt`."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        due = any(c.due for c in trainer.callbacks if isinstance(c, ResumeState))  # type: ignore[attr-defined]
        if due or trainer.global_step % self._every == 0:
            trainer.save_checkpoint(self._folder / "last.ckpt")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or self._monitor is None:
            return
        if self._monitor not in trainer.callback_metrics:
            known = ", ".join(sorted(k for k in trainer.callback_metrics if k.startswith("val/")))
            raise UserError(
                f"callbacks.checkpoints.monitor={self._monitor} was not measured; validation measured {known}"
            )
        score = self._sign * float(trainer.callback_metrics[self._monitor])
        if math.isfinite(score) and (self._best is None or score > self._best):
            self._best, self.scores = score, validated(trainer)
            trainer.save_checkpoint(self._folder / "best.ckpt")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # The kept file knows its score. What is resumed from may be older, or another run's.
        kept = whole(self._folder / "best.ckpt")
        state = kept["callbacks"][self.state_key] if kept else {}
        self._best, self.scores = state.get("best"), state.get("scores", {})

    def state_dict(self) -> dict[str, Any]:
        return {"best": self._best, "scores": self.scores}
