"""Training on pairs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from inspect import signature
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.core.optimizer import LightningOptimizer
from pytorch_lightning.strategies import ParallelStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from deblurlab.data.dataset import Sample
from deblurlab.discriminators import Discriminator
from deblurlab.errors import UserError
from deblurlab.losses import AdversarialTerm, JudgedTerm
from deblurlab.modules.phases import Example, Phase, Summands, frozen, total

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[..., LRScheduler]
_PLAYERS = ("generator", "discriminator")
"""In the order of their optimizers."""


class PairedRestoration(pl.LightningModule):
    """A generator that learns from pairs by a weighted sum of loss terms, with or without an adversary.

    Each step has up to two phases on one batch: the discriminator learns from the restored images as they are, then
    the generator learns through the discriminator as it has become. The first exists only if some
    term is adversarial. One batch is one step, whoever takes part in it.

    Args:
        generator: The model, blurred -> restored; a list of scales, coarse to fine, while training, if it has several.
        discriminator: The adversary; None if no term needs one.
        terms: Loss terms by name.
        weights: Their weights by name; a term of weight 0 is computed without gradient and logged.
        optimizer: Makes an optimizer from parameters; one for each player, named "generator" and "discriminator".
        scheduler: Makes a learning rate scheduler from an optimizer, likewise; it is given the length of the
            training, in its own intervals, if it has an argument `total`.
        interval: Whether schedulers step with each "step" or "epoch".
        n_critic: Updates of the discriminator per batch.
        gradient_clip: Largest norm of each player's gradient; None doesn't clip.
        accumulate: Parts into which a batch is cut to save memory. The step is the same, but for batch norm, which
            sees a part at a time; with an adversary the generator runs twice for each part.
        channels_last: Memory format of networks and images.
        compile: Compile the networks with torch.compile, in place.
        record: Plain data that is kept in every checkpoint (the run's config).

    Raises:
        ValueError: The terms and the discriminator don't go together, or no term has a weight.
    """

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: Discriminator | None,
        terms: Mapping[str, nn.Module],
        weights: Mapping[str, float],
        optimizer: Mapping[str, OptimizerFactory],
        scheduler: Mapping[str, SchedulerFactory],
        interval: str = "step",
        n_critic: int = 1,
        gradient_clip: float | None = None,
        accumulate: int = 1,
        channels_last: bool = True,
        compile: bool = False,
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        judged = [term for term in terms.values() if isinstance(term, JudgedTerm)]
        if (discriminator is None) == bool(judged):
            raise ValueError("there is a discriminator exactly if some loss term needs it")
        if accumulate < 1 or n_critic < 1:
            raise ValueError(f"accumulate={accumulate} and n_critic={n_critic} must be at least 1")
        if not any(weights[name] for name in terms):
            raise ValueError("every loss term has weight 0: nothing would be learnt")
        self.generator = generator
        self.discriminator = discriminator
        self.terms = nn.ModuleDict(terms)
        self.weights = dict(weights)
        self.record = record or {}
        self._optimizer, self._scheduler, self._interval = optimizer, scheduler, interval
        self._gradient_clip, self._accumulate, self._compile = gradient_clip, accumulate, compile
        self._needs_real = any(term.generator_needs_real for term in judged)
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self._format)

        self._phases = [Phase(generator, 0, 1, self._generator_losses)]
        if discriminator is not None:
            if any(isinstance(term, AdversarialTerm) for term in judged):
                self._phases.insert(0, Phase(discriminator, 1, n_critic, self._discriminator_losses))
            else:
                discriminator.requires_grad_(False)

    # What is minimised

    def _restore(self, example: Example) -> list[Tensor]:
        """The generator's output; made once per example unless memory is being saved."""
        if example.restored is not None:
            return example.restored
        restored = self.generator(example.blurred)
        scales = list(restored) if isinstance(restored, (list, tuple)) else [restored]
        if self._accumulate == 1:
            example.restored = scales
        return scales

    def _discriminator_losses(self, example: Example) -> Summands:
        assert self.discriminator is not None
        with torch.set_grad_enabled(self._accumulate == 1):
            restored = self._restore(example)[-1].detach()
        real = self.discriminator(example.sharp, example.blurred)
        fake = self.discriminator(restored, example.blurred)
        return {
            f"discriminator_{name}": (1.0, term.discriminator_loss(real, fake))
            for name, term in self.terms.items()
            if isinstance(term, AdversarialTerm)
        }

    def _generator_losses(self, example: Example) -> Summands:
        scales = self._restore(example)
        real = fake = None
        if self.discriminator is not None:
            with frozen(self.discriminator):
                fake = self.discriminator(scales[-1], example.blurred)
            if self._needs_real:
                with torch.no_grad():
                    real = self.discriminator(example.sharp, example.blurred)
        summands = {}
        for name, term in self.terms.items():
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.weights[name] != 0):
                value = (
                    term.generator_loss(real, fake)
                    if isinstance(term, JudgedTerm) and fake is not None
                    else sum(term(r, _resized(example.sharp, r)) for r in _applied(term, scales))
                )
            summands[name] = (self.weights[name], value)
        return summands

    # The step

    def training_step(self, batch: Sample, batch_idx: int) -> dict[str, Tensor]:
        examples = self._examples(batch)
        optimizers = self._players()
        values: dict[str, Tensor] = {}
        for phase in self._phases:
            for _ in range(phase.updates):
                values |= self._learn(phase, optimizers[phase.optimizer], examples)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and self.global_step % every == 0:  # Lightning would throw away the others, at a cost
            rates = {f"lr/{name}": o.param_groups[0]["lr"] for name, o in zip(_PLAYERS, optimizers, strict=False)}
            self.log_dict({**{f"loss/{name}": value for name, value in values.items()}, **rates, **self._now()})
        self._advance("step")
        if batch_idx + 1 == self.trainer.num_training_batches:
            self._advance("epoch")
        return values

    def _learn(self, phase: Phase, optimizer: LightningOptimizer, examples: list[Example]) -> dict[str, Tensor]:
        """One update of one player."""
        optimizer.zero_grad()
        values: dict[str, Tensor] = {}
        for i, example in enumerate(examples, start=1):
            summands = phase.loss(example)
            with self._in_sync(i == len(examples)):
                self.manual_backward(total(summands) * example.share)
            for name, (_, value) in summands.items():
                values[name] = values.get(name, 0) + value.detach() * example.share
        if phase.optimizer == 0:
            optimizer.step()
        else:
            # Lightning counts what its wrappers step, so this one goes round them: one batch is one step.
            self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=_nothing)
        return values

    def _examples(self, batch: Sample) -> list[Example]:
        images = [
            batch[key].to(self.dtype, memory_format=self._format).div(255).chunk(self._accumulate)
            for key in ("blurred", "sharp")
        ]
        size = len(batch["blurred"])
        return [Example(blurred, sharp, share=len(blurred) / size) for blurred, sharp in zip(*images, strict=True)]

    def _in_sync(self, now: bool) -> AbstractContextManager[None]:
        """Gradients travel between processes with the last part of a batch."""
        strategy = self.trainer.strategy
        return nullcontext() if now or not isinstance(strategy, ParallelStrategy) else strategy.block_backward_sync()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        # The one place where gradients are unscaled under fp16.
        if self._gradient_clip is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self._gradient_clip)

    def _advance(self, interval: str) -> None:
        if interval == self._interval:
            for config in self.trainer.lr_scheduler_configs:
                config.scheduler.step()  # type: ignore[call-arg]

    # Evaluation

    def forward(self, blurred: Tensor) -> Tensor:
        """Restore images, `(B, 3, H, W)` in [0, 1], at the finest scale; clamped."""
        restored = self.generator(blurred)
        finest: Tensor = restored[-1] if isinstance(restored, (list, tuple)) else restored
        return finest.clamp(0, 1)

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        example = self._examples(batch)[0]
        losses = {f"val/loss/{name}": value for name, (_, value) in self._generator_losses(example).items()}
        self.log_dict({**losses, **self._now()}, batch_size=1, sync_dist=True)
        return self._restore(example)[-1].clamp(0, 1)

    def test_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return self(self._examples(batch)[0].blurred)

    def _now(self) -> dict[str, float]:
        """The x axis of all curves: steps that are done. Lightning's own counts from 0."""
        return {"step": float(self.global_step)}

    # Set-up and checkpoints

    def setup(self, stage: str) -> None:
        if self._compile and stage == "fit":
            for network in (self.generator, self.discriminator):
                if network is not None:
                    network.compile()

    def configure_optimizers(self) -> Any:
        optimizers, schedulers = [], []
        for name, phase in zip(_PLAYERS, reversed(self._phases), strict=False):
            make = self._scheduler[name]
            arguments = {"total": self._total()} if "total" in signature(make).parameters else {}
            try:
                optimizer = self._optimizer[name]([p for p in phase.network.parameters() if p.requires_grad])
                scheduler = make(optimizer, **arguments)
            except (TypeError, ValueError) as error:
                raise UserError(f"optimizer.{name} or scheduler.{name} can't be made as asked: {error}") from error
            optimizers.append(optimizer)
            schedulers.append({"scheduler": scheduler, "interval": self._interval})
        return optimizers, schedulers

    def _total(self) -> int:
        """How many intervals of the schedulers the training has."""
        steps = int(self.trainer.estimated_stepping_batches)
        return steps if self._interval == "step" else -(-steps // int(self.trainer.num_training_batches))

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
        """Frozen networks inside loss terms: made anew from the config, never stored."""
        return [f"terms.{name}" for name, parameter in self.terms.named_parameters() if not parameter.requires_grad]


def _applied(term: nn.Module, scales: list[Tensor]) -> list[Tensor]:
    return scales if getattr(term, "scales", "finest") == "all" else scales[-1:]


def _resized(sharp: Tensor, restored: Tensor) -> Tensor:
    """The sharp images at the size of one of the restored scales."""
    size = restored.shape[-2:]
    return sharp if sharp.shape[-2:] == size else F.interpolate(sharp, size, mode="bilinear", antialias=True)


def _nothing() -> None:
    """A closure: the gradients are there already."""
