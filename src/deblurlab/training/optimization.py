"""Optimizers, schedulers and logging under Lightning's manual optimization."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from deblurlab._compat import values_to_log
from deblurlab.errors import UserError
from deblurlab.training.optimizers import prepare_optimizer
from deblurlab.training.settings import StepSettings

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[..., LRScheduler]


class ManualOptimization(pl.LightningModule):
    """LightningModule with manual optimization of up to two groups of networks, "generator" and "discriminator".

    A subclass names the networks of each group in `trained_networks` and implements `training_step`.

    Args:
        optimizer: Factory of each group's optimizer, called with parameters.
        scheduler: Factory of each group's learning rate scheduler, called with the optimizer, and with the length of
            the training in `settings.interval`s if it has a parameter `total`.
        settings: Settings of the step.
    """

    def __init__(
        self,
        *,
        optimizer: Mapping[str, OptimizerFactory],
        scheduler: Mapping[str, SchedulerFactory],
        settings: StepSettings,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.settings = settings
        self._optimizer, self._scheduler = optimizer, scheduler

    @property
    def trained_networks(self) -> dict[str, tuple[nn.Module, ...]]:
        """The networks that each optimizer updates, in the order of the optimizers."""
        raise NotImplementedError

    def trained_parameters(self, name: str) -> list[nn.Parameter]:
        """Return the parameters that the optimizer `name` updates."""
        return [p for network in self.trained_networks[name] for p in network.parameters() if p.requires_grad]

    def configure_optimizers(self) -> Any:
        """Return an optimizer and a scheduler for each group of networks.

        Raises:
            UserError: A factory rejects its arguments.
        """
        optimizers, schedulers = [], []
        for name in self.trained_networks:
            make = self._scheduler[name]
            arguments = {"total": self._scheduler_length()} if "total" in signature(make).parameters else {}
            try:
                optimizer = self._optimizer[name](self.trained_parameters(name))
                prepare_optimizer(optimizer)
                scheduler = make(optimizer, **arguments)
            except UserError:
                raise
            except Exception as error:  # a user's own class may raise anything
                raise UserError(f"optimizer.{name} or scheduler.{name} can't be built: {error}") from error
            optimizers.append(optimizer)
            schedulers.append({"scheduler": scheduler, "interval": self.settings.interval})
        return optimizers, schedulers

    def _scheduler_length(self) -> int:
        steps = int(self.trainer.estimated_stepping_batches)
        if self.settings.interval == "step":
            return steps
        self.trainer.fit_loop.setup_data()  # with max_steps given, the line above doesn't load it
        return -(-steps // int(self.trainer.num_training_batches))

    def _named_optimizers(self) -> dict[str, LightningOptimizer]:
        """Return the optimizers by the name of their networks."""
        optimizers = self.optimizers()
        listed = optimizers if isinstance(optimizers, list) else [optimizers]
        return dict(zip(self.trained_networks, listed, strict=True))

    def _synchronised(self, now: bool) -> AbstractContextManager[None]:
        """Return a context in which processes exchange gradients only if `now`."""
        strategy = self.trainer.strategy
        return nullcontext() if now or not isinstance(strategy, ParallelStrategy) else strategy.block_backward_sync()

    def _step_optimizer(self, name: str, optimizer: LightningOptimizer) -> None:
        """Step an optimizer. Only the generator's steps count for Lightning: one batch is one `global_step`."""
        if name == "generator":
            optimizer.step()
        else:
            self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=_no_closure)

    def _step_schedulers(self, batch_idx: int) -> None:
        """Advance the schedulers after a batch, if their interval ends with it."""
        if self.settings.interval == "step" or batch_idx + 1 == self.trainer.num_training_batches:
            for config in self.trainer.lr_scheduler_configs:
                config.scheduler.step()  # type: ignore[call-arg]

    def _logs_this_step(self) -> bool:
        """Return whether this step is logged: every `trainer.log_every_n_steps` steps."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and self.global_step % every == 0

    def _log_step(self, losses: Mapping[str, Tensor], diagnostics: Mapping[str, Tensor]) -> None:
        """Log losses, learning rates and diagnostics of this step, in one row with what callbacks log."""
        rates = {f"lr/{name}": optimizer.param_groups[0]["lr"] for name, optimizer in self._named_optimizers().items()}
        place = {"step": float(self.global_step), "epoch": float(self.current_epoch)}  # Lightning's step starts at 0
        self.log_dict({**losses, **rates, **diagnostics, **place})

    def on_train_epoch_end(self) -> None:
        """Give what callbacks log for the epoch the number of the step."""
        if values_to_log(self.trainer):
            self.log("step", float(self.global_step))


def _no_closure() -> None:
    """Compute nothing: the gradients are there already."""
