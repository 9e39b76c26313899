"""What makes a training that was stopped anywhere go on as if it had never been."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loops.fit_loop import _FitLoop

from deblurlab.runs.distributed import gathered, own, random_streams, restore_random_streams


class ResumeState(pl.Callback):
    """Keeps in every checkpoint the random streams of each process, the latest validation's scores, and whether one was
    due at that step. A training that goes on takes the streams up where they stood, and its `FitLoop` makes up for the
    validation. It stands before all other callbacks.
    """

    def __init__(self) -> None:
        self.due = False
        """Whether the step that is done asks for a validation that hasn't been finished."""
        self.scores: dict[str, float] = {}
        """What the latest validation said of the first validation set, by metric."""
        self._streams: list[Any] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        loop = trainer.fit_loop
        assert loop._data_fetcher is not None
        self.due = loop.epoch_loop._should_check_val_fx(loop._data_fetcher) and bool(trainer.num_val_batches)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.due, self.scores = False, validated(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        streams = own(self._streams, trainer)
        self._streams = []
        if streams is not None:
            restore_random_streams(streams)

    on_fit_end = on_train_start  # where nothing was left to train

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["streams"] = gathered(random_streams())

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._streams = checkpoint["streams"]

    def state_dict(self) -> dict[str, Any]:
        return {"due": self.due, "scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.due, self.scores = state_dict["due"], state_dict["scores"]


class FitLoop(_FitLoop):
    """Lightning's, which would pass over the validation that a training was killed in."""

    def __init__(self, trainer: pl.Trainer, resume_state: ResumeState) -> None:
        plain = trainer.fit_loop
        super().__init__(trainer, plain.min_epochs, plain.max_epochs)
        self.epoch_loop, self._resume_state = plain.epoch_loop, resume_state

    @property
    def skip(self) -> bool:
        return super().skip and not self._resume_state.due  # also after the last step

    def on_run_start(self) -> None:
        super().on_run_start()
        if self._resume_state.due:
            self.trainer.validating = True
            self.epoch_loop.val_loop.restarting = False
            self.epoch_loop.val_loop.run()
            self.trainer.training = True


def validated(trainer: pl.Trainer) -> dict[str, float]:
    """What the latest validation measured of the first validation set, by metric."""
    found = {
        key.removeprefix("val/"): float(v) for key, v in trainer.callback_metrics.items() if key.startswith("val/")
    }
    return {metric: value for metric, value in found.items() if "/" not in metric}
