"""Training on pairs."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.data.dataset import Sample
from deblurlab.discriminators import Discriminator, Judgement
from deblurlab.losses import AdversarialTerm, JudgedTerm
from deblurlab.modules.memory import History, ImagePool
from deblurlab.modules.phased import OptimizerFactory, PhasedModule, SchedulerFactory
from deblurlab.modules.phases import Example, Phase, Summands, frozen


class PairedRestoration(PhasedModule):
    """A generator that learns from pairs by a weighted sum of loss terms, with or without an adversary.

    Each step has up to two phases: the discriminator learns from the restored images as they are, then the generator
    learns through the discriminator as it has become. The first exists only if some term is adversarial.

    Args:
        generator: The model, blurred -> restored; a list of scales, coarse to fine, while training, if it has several.
        discriminator: The adversary; None if no term needs one.
        terms: Loss terms by name.
        weights: Their weights by name; a term of weight 0 is computed without gradient and logged.
        n_critic: Updates of the discriminator per batch; None takes what the objective was published with.
        discriminator_start: Steps before the adversary comes into play: until then it neither learns nor judges, and
            terms that need it count 0.
        image_pool: Restored images kept, from which the discriminator is shown half of what it learns from.
        history: Batches over which objectives that compare with an average take it; 0 takes the batch at hand.
        optimizer: This and the others as for `PhasedModule`. Batch norm sees one part of a batch at a time if
            `accumulate` cuts it, and with an adversary the generator then runs twice for each part.

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
        n_critic: int | None = None,
        discriminator_start: int = 0,
        image_pool: int = 0,
        history: int = 0,
        gradient_clip: float | None = None,
        accumulate: int = 1,
        channels_last: bool = True,
        compile: bool = False,
        record: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            scheduler=scheduler,
            interval=interval,
            gradient_clip=gradient_clip,
            accumulate=accumulate,
            channels_last=channels_last,
            compile=compile,
            record=record,
        )
        judged = [term for term in terms.values() if isinstance(term, JudgedTerm)]
        if (discriminator is None) == bool(judged):
            raise ValueError("there is a discriminator exactly if some loss term needs it")
        _see_that_something_is_learnt(terms, weights, discriminator_start)
        teachers = [term for term in judged if isinstance(term, AdversarialTerm)]
        updates = max((term.n_critic for term in teachers), default=1) if n_critic is None else n_critic
        if updates < 1 or updates != int(updates):
            raise ValueError(f"n_critic={n_critic} must be a whole number of at least 1")
        if min(discriminator_start, image_pool, history) < 0:
            raise ValueError(
                f"discriminator_start={discriminator_start}, image_pool={image_pool} and history={history} "
                f"must be at least 0"
            )
        self.generator = generator
        self.discriminator = discriminator
        self.terms = nn.ModuleDict(terms)
        self.weights = dict(weights)
        self._needs_real = any(term.generator_needs_real for term in judged)
        self._discriminator_start = discriminator_start
        self._image_pool = image_pool
        self._pool, self._history = ImagePool(image_pool), History(history)
        self.to(memory_format=self._format)

        self.phases = [Phase(generator, 0, 1, self._generator_losses)]
        if discriminator is not None:
            if teachers:
                turn = Phase(discriminator, 1, updates, self._discriminator_losses, start=discriminator_start)
                self.phases.insert(0, turn)
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
        first = example.shown is None
        if example.shown is None:
            with torch.set_grad_enabled(self._accumulate == 1):
                made = self._restore(example)[-1].detach()
            restored, blurred = self._pool.exchange(torch.cat([made, example.blurred], dim=1)).chunk(2, dim=1)
            example.shown = restored, blurred
        restored, blurred = example.shown
        real = self.discriminator(example.sharp, example.blurred)
        fake = self.discriminator(restored, blurred)
        if first:
            self._history.add(real=real, fake=fake, share=example.share)
        real, fake = self._history.beside("real", real), self._history.beside("fake", fake)
        summands: Summands = {}
        for name, term in self.terms.items():
            if isinstance(term, AdversarialTerm):
                summands[f"discriminator_{name}"] = 1.0, term.discriminator_loss(real, fake)
                penalty = term.penalty(self.discriminator, example.sharp, restored, example.blurred)
                if penalty is not None:
                    summands[f"discriminator_{name}_penalty"] = 1.0, penalty
        return summands

    def _generator_losses(self, example: Example) -> Summands:
        scales = self._restore(example)
        real, fake = self._judged(scales[-1], example)
        summands = {}
        for name, term in self.terms.items():
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.weights[name] != 0):
                if not isinstance(term, JudgedTerm):
                    value = sum(term(r, _resized(example.sharp, r)) for r in _applied(term, scales))
                elif fake is not None:
                    value = term.generator_loss(real, fake)
                else:
                    value = scales[-1].new_zeros(())
            summands[name] = self.weights[name], value
        return summands

    def _judged(self, restored: Tensor, example: Example) -> tuple[Judgement | None, Judgement | None]:
        """The discriminator's judgements of the sharp images, if some term looks at them, and of the restored ones."""
        if self.discriminator is None or self.global_step < self._discriminator_start:
            return None, None
        with frozen(self.discriminator):
            fake = self.discriminator(restored, example.blurred)
        real = None
        if self._needs_real:
            with torch.no_grad():
                real = self._history.beside("real", self.discriminator(example.sharp, example.blurred))
        return real, self._history.beside("fake", fake)

    def _examples(self, batch: Sample) -> list[Example]:
        images = [
            batch[key].to(self.dtype, memory_format=self._format).div(255).chunk(self._accumulate)
            for key in ("blurred", "sharp")
        ]
        size = len(batch["blurred"])
        return [Example(blurred, sharp, share=len(blurred) / size) for blurred, sharp in zip(*images, strict=True)]

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

    # Set-up and checkpoints

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":  # a test afterwards leaves it alone
            self._pool = ImagePool(self._image_pool, seed=1000 * int(self.record.get("seed", 0)) + self.global_rank)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["memory"] = {"pool": self._pool.state_dict(), "history": self._history.state_dict()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        memory = checkpoint["memory"]
        self._pool.load_state_dict(memory["pool"], self.device)
        self._history.load_state_dict(memory["history"], self.device)


def _see_that_something_is_learnt(
    terms: Mapping[str, nn.Module], weights: Mapping[str, float], discriminator_start: int
) -> None:
    weighted = [terms[name] for name in terms if weights[name]]
    if not weighted:
        raise ValueError("every loss term has weight 0: nothing would be learnt")
    if discriminator_start and all(isinstance(term, JudgedTerm) for term in weighted):
        raise ValueError(
            f"until discriminator_start={discriminator_start} nothing would be learnt: every loss term with a weight "
            f"needs the discriminator"
        )


def _applied(term: nn.Module, scales: list[Tensor]) -> list[Tensor]:
    return scales if getattr(term, "scales", "finest") == "all" else scales[-1:]


def _resized(sharp: Tensor, restored: Tensor) -> Tensor:
    """The sharp images at the size of one of the restored scales: means over areas."""
    size = restored.shape[-2:]
    return sharp if sharp.shape[-2:] == size else F.interpolate(sharp, size, mode="area")
