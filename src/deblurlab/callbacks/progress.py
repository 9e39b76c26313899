"""Progress display in the terminal."""

from typing import Any, cast

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from deblurlab.callbacks.protocols import HasLossTerms
from deblurlab.models.cost import count_macs, count_parameters
from deblurlab.runs.progress import ProgressLines


class TrainingProgress(ProgressBar):
    """Summary of the networks, then one progress bar over all training steps.

    The bar shows the remaining time and the losses. The losses are updated every `every` steps, when the logger reads
    them from the device anyway. Each validation prints a line with its metrics.

    If standard error is no terminal, a line every half minute replaces the bar of the training.

    Lightning's progress bars cover one epoch each, and a training whose length is given in steps may have any number
    of epochs.
    """

    def __init__(self, *, every: int = 50) -> None:
        super().__init__()
        self._every = every
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._lines: ProgressLines | None = None
        self._training: TaskID | None = None
        self._evaluation: TaskID | None = None

    def disable(self) -> None:
        """Do nothing: Lightning calls this in all processes but the first, where no bar is started."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the networks with their costs, and the loss terms with their weights."""
        if not trainer.is_global_zero:
            return
        module = cast("HasLossTerms", pl_module)
        generators = list(module.generators)
        table = Table(box=None, padding=(0, 3, 0, 0), show_header=False)
        for name, network in pl_module.named_children():
            if network is module.terms:
                continue
            cost = f"{count_parameters(network) / 1e6:.2f} M parameters"
            if network in generators:
                cost += f", {count_macs(network) / 1e9:.2f} G MACs at 256x256"
            table.add_row(name.replace("_", " "), type(network).__name__, cost)
        self._console.print(table)
        self._console.print("loss: " + " + ".join(f"{weight:g} {name}" for name, weight in module.weights.items()))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the bar of the training."""
        total = int(trainer.estimated_stepping_batches)
        self._training = self._start(trainer, "training", total, trainer.global_step)
        self._lines = ProgressLines("training", total, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar of the training."""
        if self._progress is None or self._training is None:
            return
        self._progress.update(self._training, completed=trainer.global_step)
        if self._lines is not None and not self._console.is_terminal:
            self._lines(trainer.global_step)
        if trainer.global_step % self._every == 0:
            losses = "  ".join(f"{name} {value.item():.3g}" for name, value in outputs.items())
            self._progress.update(self._training, text=losses)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the bar of a validation."""
        self._evaluation = self._start(trainer, "validation", _total(trainer.num_val_batches))

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Advance the bar of the validation."""
        self._advance()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print the metrics of the validation and remove its bar."""
        if self._progress is None:
            return
        metrics = {
            k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/") and "/loss/" not in k
        }
        line = "  ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()))
        self._progress.console.print(f"step {trainer.global_step}  {line}", highlight=False, soft_wrap=True)
        self._finish_evaluation()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the bar of the test."""
        self._evaluation = self._start(trainer, "test", _total(trainer.num_test_batches))

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Advance the bar of the test."""
        self._advance()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remove the bar of the test."""
        self._finish_evaluation()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Stop the display."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self, trainer: pl.Trainer, description: str, total: int, completed: int = 0) -> TaskID | None:
        if not trainer.is_global_zero:
            return None
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[text]}"),
                console=self._console,
                refresh_per_second=2,
            )
            self._progress.start()
        return self._progress.add_task(description, total=total, completed=completed, text="")

    def _advance(self) -> None:
        if self._progress is not None and self._evaluation is not None:
            self._progress.advance(self._evaluation)

    def _finish_evaluation(self) -> None:
        if self._progress is not None and self._evaluation is not None:
            self._progress.remove_task(self._evaluation)
            self._evaluation = None


def _total(batches: Any) -> int:
    return int(sum(batches)) if isinstance(batches, list) else int(batches)
