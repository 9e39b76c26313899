"""State that makes a resumed training equal to an uninterrupted one."""

from typing import Any

import pytorch_lightning as pl

from deblurlab._compat import validation_due, values_to_log
from deblurlab.runs.distributed import gather_state, own_state, random_state, set_random_state


class ResumeState(pl.Callback):
    """Random states of all processes, validation metrics, pending validation and logged values in every checkpoint.

    A resumed training restores the random states, and its fit loop runs the pending validation. This callback must
    precede all others.
    """

    def __init__(self) -> None:
        self.due = False
        """Whether the completed step requires a validation that has not been finished."""
        self.scores: dict[str, float] = {}
        """Metrics of the latest validation on the first validation set, by name."""
        self._streams: list[Any] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Determine whether a validation follows this step."""
        self.due = validation_due(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the finished validation."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.due, self.scores = False, validation_metrics(trainer)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the random state of this process."""
        streams = own_state(self._streams, trainer)
        self._streams = []
        if streams is not None:
            set_random_state(streams)

    on_fit_end = on_train_start  # if no step was left, on_train_start isn't called

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the random states of all processes, and the logged values of this step, to a checkpoint."""
        checkpoint["streams"] = gather_state(random_state())  # the key of older checkpoints
        # Lightning writes the values after the checkpoint, and a training killed in between would lack them.
        checkpoint["logged"] = values_to_log(trainer) if trainer.training else {}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read the random states from a checkpoint."""
        self._streams = checkpoint["streams"]

    def state_dict(self) -> dict[str, Any]:
        """Return whether a validation is pending, and the latest validation metrics."""
        return {"due": self.due, "scores": self.scores}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore whether a validation is pending, and the latest validation metrics."""
        self.due, self.scores = state_dict["due"], state_dict["scores"]


def validation_metrics(trainer: pl.Trainer) -> dict[str, float]:
    """Return the metrics of the latest validation on the first validation set, by name."""
    found = {
        key.removeprefix("val/"): float(v) for key, v in trainer.callback_metrics.items() if key.startswith("val/")
    }
    return {metric: value for metric, value in found.items() if "/" not in metric}
