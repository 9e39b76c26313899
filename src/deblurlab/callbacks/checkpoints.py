"""Selection of the checkpoints that a run keeps."""

import logging
import math
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from deblurlab.callbacks.metrics import ImageMetrics
from deblurlab.callbacks.resume import ResumeState, validation_metrics
from deblurlab.checkpoints.io import try_read_training_state
from deblurlab.errors import UserError

_LOG = logging.getLogger(__name__)


class Checkpoints(Checkpoint):
    """Writer of the checkpoints `last.ckpt`, `previous.ckpt` and `best.ckpt`.

    `last.ckpt` is written every `every` steps and before each validation, to resume from; the one that it replaces
    stays as `previous.ckpt`. `best.ckpt` is the state with the best value of the metric `monitor` in validation.

    Lightning's ModelCheckpoint saves twice as often as requested under manual optimization and loses the best value
    when a run's folder is moved.

    Args:
        folder: Folder of the checkpoints.
        every: Steps between two writes of `last.ckpt`.
        monitor: Logged name of the metric; None writes no `best.ckpt`.
        mode: "max" if a higher value is better, "min" if a lower one is; None: as the measured metric says.

    Raises:
        UserError: `mode` is unknown. At the start: it is None, and `monitor` isn't a measured metric. After a
            validation: it did not measure `monitor`.
    """

    def __init__(
        self, *, folder: str, every: int, monitor: str | None = "val/psnr", mode: Literal["max", "min"] | None = None
    ) -> None:
        if mode not in ("max", "min", None):
            raise UserError(f"callbacks.checkpoints.mode={mode} is unknown: max, min, or null for the metric's own")
        self._folder = Path(folder)
        self._every, self._monitor, self._mode = every, monitor, mode
        self._best: float | None = None
        self.scores: dict[str, float] = {}
        """Validation metrics of `best.ckpt`, by name."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Write `last.ckpt` if it is due."""
        due = any(c.due for c in trainer.callbacks if isinstance(c, ResumeState))  # type: ignore[attr-defined]
        if due or trainer.global_step % self._every == 0:
            trainer.save_checkpoint(self._folder / "last.ckpt")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `best.ckpt` if the monitored metric has improved."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or self._monitor is None:
            return
        if self._monitor not in trainer.callback_metrics:
            measured = ", ".join(sorted(k for k in trainer.callback_metrics if k.startswith("val/")))
            raise UserError(
                f"callbacks.checkpoints.monitor={self._monitor} was not measured; validation measured {measured}"
            )
        value = self._sign(trainer) * float(trainer.callback_metrics[self._monitor])
        if math.isfinite(value) and (self._best is None or value > self._best):
            self._best, self.scores = value, validation_metrics(trainer)
            trainer.save_checkpoint(self._folder / "best.ckpt")
            for logger in trainer.loggers:
                if hasattr(logger, "log_best_checkpoint"):
                    logger.log_best_checkpoint(self.scores)

    def _sign(self, trainer: pl.Trainer) -> int:
        """Return 1 if a higher value of the monitored metric is better, else -1."""
        if self._mode is not None:
            return 1 if self._mode == "max" else -1
        name = str(self._monitor).rpartition("/")[2].removesuffix("_blurred")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, ImageMetrics) and name in callback.measurement.info:
                return 1 if callback.measurement.info[name].higher_is_better else -1
        raise UserError(
            f"callbacks.checkpoints.monitor={self._monitor} isn't a metric of metric=; for another logged value set "
            f"callbacks.checkpoints.mode=max or min"
        )

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Warn if no validation has chosen a checkpoint."""
        if self._monitor is not None and self._best is None:
            _LOG.warning(
                "No validation gave callbacks.checkpoints.monitor=%s a finite value: there is no best.ckpt, and the "
                "last checkpoint is used. Is trainer.val_check_interval longer than the training?",
                self._monitor,
            )

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Read the best value from `best.ckpt`; check that its direction is known."""
        if self._monitor is not None:
            self._sign(trainer)
        # The checkpoint that training resumes from may be older than best.ckpt, or belong to another run.
        content = try_read_training_state(self._folder / "best.ckpt")
        state = content["callbacks"][self.state_key] if content else {}
        self._best, self.scores = state.get("best"), state.get("scores", {})

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the validation metrics that belong to it."""
        return {"best": self._best, "scores": self.scores}
