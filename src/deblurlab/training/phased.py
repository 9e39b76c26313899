"""The training step, whatever is trained."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from deblurlab.errors import UserError
from deblurlab.training.nonfinite import Held, Update
from deblurlab.training.phases import Example, Phase, total

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[..., LRScheduler]
PLAYERS = ("generator", "discriminator")
"""In the order of their optimizers."""


class PhasedModule(pl.LightningModule):
    """Each phase in turn updates one player from the batch. One batch is one step, whoever takes part in it.

    A subclass says what its `phases` are, the generator's last, and makes `_examples` of a batch.

    Args:
        optimizer: Makes an optimizer from parameters; one for each player, named "generator" and "discriminator".
        scheduler: Makes a learning rate scheduler from an optimizer, likewise; it is given the length of the training,
            in its own intervals, if it has an argument `total`.
        interval: Whether schedulers step with each "step" or "epoch".
        gradient_clip: Largest norm of each player's gradient; None doesn't clip.
        accumulate: Parts into which a batch is cut to save memory.
        channels_last: Memory format of networks and images.
        compile: Compile the networks with torch.compile, in place.
        record: Plain data that is kept in every checkpoint (the run's config).
    """

    def __init__(
        self,
        *,
        optimizer: Mapping[str, OptimizerFactory],
        scheduler: Mapping[str, SchedulerFactory],
        interval: str,
        gradient_clip: float | None,
        accumulate: int,
        channels_last: bool,
        compile: bool,
        record: dict[str, Any] | None,
    ) -> None:
        super().__init__()
        if accumulate < 1:
            raise ValueError(f"accumulate={accumulate} must be at least 1")
        if interval not in ("step", "epoch"):
            raise ValueError(f"scheduler.interval={interval} is unknown: step or epoch")
        if gradient_clip is not None and gradient_clip <= 0:
            raise ValueError(f"gradient_clip={gradient_clip} must be more than 0")
        self.automatic_optimization = False
        self.record = record or {}
        self._optimizer, self._scheduler, self._interval = optimizer, scheduler, interval
        self._gradient_clip, self._accumulate, self._compile = gradient_clip, accumulate, compile
        self._playing = PLAYERS[0]
        self._gradients: dict[str, Tensor] = {}
        self._update: Update | None = None
        self.nonfinite: dict[str, Tensor] = {}
        """What wasn't finite in the latest step, and so kept it from being taken: term or gradient -> bool, on the
        device."""
        self._format = torch.channels_last if channels_last else torch.contiguous_format

    @property
    def phases(self) -> list[Phase]:
        raise NotImplementedError

    def _examples(self, batch: Any) -> list[Example]:
        """A batch as floats, in `accumulate` parts."""
        raise NotImplementedError

    # The step

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        examples = self._examples(batch)
        optimizers = self._players()
        values: dict[str, Tensor] = {}
        self.nonfinite = {}
        statistics = Held(b for b in self.buffers() if b.is_floating_point())  # that batch norm and spectral norm keep
        for phase in self.phases:
            for _ in range(phase.updates if self.global_step >= phase.start else 0):
                values |= self._learn(phase, optimizers[phase.optimizer], examples)
        statistics.keep(~torch.stack(list(self.nonfinite.values())).any())
        if self._logs(self.global_step):
            rates = {f"lr/{name}": o.param_groups[0]["lr"] for name, o in zip(PLAYERS, optimizers, strict=False)}
            losses = {f"loss/{name}": value for name, value in values.items()}
            self._record({**losses, **rates, **self._gradients, **self._curves()})
        self._advance("step")
        if batch_idx + 1 == self.trainer.num_training_batches:
            self._advance("epoch")
        return values

    def _learn(self, phase: Phase, optimizer: LightningOptimizer, examples: list[Example]) -> dict[str, Tensor]:
        """One update of one player."""
        self._playing = PLAYERS[phase.optimizer]
        optimizer.zero_grad()
        values: dict[str, Tensor] = {}
        for i, example in enumerate(examples, start=1):
            summands = phase.loss(example)
            loss = total(summands) * example.share
            # A loss that isn't finite may have a gradient that is; and every process must come to know.
            loss = loss * torch.where(loss.isfinite(), 1.0, torch.nan)
            with self._in_sync(i == len(examples)):
                self.manual_backward(loss)
            for name, (weight, value) in summands.items():
                values[name] = values.get(name, 0) + value.detach() * example.share
                if weight:
                    self._note(f"loss/{name}", ~value.detach().isfinite())
        if phase.optimizer == 0:
            optimizer.step()
        else:
            # Lightning counts what its wrappers step, so this one goes round them: one batch is one step.
            self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=_nothing)
        if self._update is not None:
            self._update.finish()
            self._update = None
        return values

    def _note(self, name: str, bad: Tensor) -> None:
        self.nonfinite[name] = self.nonfinite.get(name, False) | bad

    def _in_sync(self, now: bool) -> AbstractContextManager[None]:
        """Gradients travel between processes with the last part of a batch."""
        strategy = self.trainer.strategy
        return nullcontext() if now or not isinstance(strategy, ParallelStrategy) else strategy.block_backward_sync()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # The one place where gradients are unscaled under fp16.
        learnt = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self._gradient_clip is not None:
            norm = nn.utils.clip_grad_norm_(learnt, self._gradient_clip)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in learnt if p.grad is not None])
        self._gradients[f"gradient/{self._playing}"] = norm
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:  # which looks after its gradients itself
            self._update = Update(optimizer, norm)
            self._note(f"gradient/{self._playing}", ~self._update.taken)

    def _logs(self, step: int) -> bool:
        """Whether this step's values are logged: Lightning would throw away the others, at a cost."""
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and step % every == 0

    def _advance(self, interval: str) -> None:
        if interval == self._interval:
            for config in self.trainer.lr_scheduler_configs:
                config.scheduler.step()  # type: ignore[call-arg]

    def _curves(self) -> dict[str, Tensor]:
        """What else is logged."""
        return {}

    def _record(self, values: Mapping[str, Tensor | float]) -> None:
        """Log values now: Lightning would after the step's checkpoint, and a training killed in between lacks them."""
        self.log_dict(dict(values), logger=False)
        plain = {"epoch": float(self.current_epoch), **{name: float(value) for name, value in values.items()}}
        for logger in self.trainer.loggers if self.trainer.is_global_zero else ():
            logger.log_metrics(plain, step=self.global_step)

    def _now(self) -> dict[str, float]:
        """The x axis of all curves: steps that are done. Lightning's own counts from 0."""
        return {"step": float(self.global_step)}

    # Set-up and checkpoints

    def on_validation_start(self) -> None:
        # The first process's statistics are those that a checkpoint keeps: what is measured is what is kept.
        for buffer in self.buffers() if self.trainer.world_size > 1 else ():
            torch.distributed.broadcast(buffer, 0)

    def setup(self, stage: str) -> None:
        if self._compile and stage == "fit":
            for network in (network for phase in self.phases for network in phase.networks):
                network.compile()

    def configure_optimizers(self) -> Any:
        optimizers, schedulers = [], []
        for name, phase in zip(PLAYERS, reversed(self.phases), strict=False):
            make = self._scheduler[name]
            arguments = {"total": self._total()} if "total" in signature(make).parameters else {}
            try:
                learnt = [p for network in phase.networks for p in network.parameters() if p.requires_grad]
                optimizer = self._optimizer[name](learnt)
                scheduler = make(optimizer, **arguments)
            except Exception as error:  # whatever a user's own makes of wrong arguments
                if isinstance(error, UserError):
                    raise
                raise UserError(f"optimizer.{name} or scheduler.{name} can't be made as asked: {error}") from error
            optimizers.append(optimizer)
            schedulers.append({"scheduler": scheduler, "interval": self._interval})
        return optimizers, schedulers

    def _total(self) -> int:
        """How many intervals of the schedulers the training has."""
        steps = int(self.trainer.estimated_stepping_batches)
        if self._interval == "step":
            return steps
        self.trainer.fit_loop.setup_data()  # the line above doesn't need to, if max_steps is given
        return -(-steps // int(self.trainer.num_training_batches))

    def _players(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["record"] = self.record
        for name in self._rebuilt():
            del checkpoint["state_dict"][name]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own, theirs = self.state_dict(), checkpoint["state_dict"]
        expected = {name: value.shape for name, value in own.items() if name not in self._rebuilt()}
        if expected != {name: value.shape for name, value in theirs.items()}:
            raise UserError("the checkpoint belongs to another model or loss: init=<checkpoint> takes weights alone")
        checkpoint["state_dict"].update({name: own[name] for name in self._rebuilt()})

    def _rebuilt(self) -> list[str]:
        """What is made anew from the config and never stored: the frozen networks inside loss terms."""
        return [name for name, p in self.named_parameters() if name.startswith("terms.") and not p.requires_grad]


def _nothing() -> None:
    """A closure: the gradients are there already."""
