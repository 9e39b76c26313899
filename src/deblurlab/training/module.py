"""The training step of a restoration GAN, from top to bottom. Without adversarial losses it trains the generator only.

One batch is one step:

1. The batch is converted to floats and split into micro-batches.
2. The discriminators are updated `n_critic` times on sharp and on detached generated images.
3. The generators are updated on the weighted sum of all loss terms, through the updated, frozen discriminators.
4. Losses are logged and the schedulers advance.

`PairedRestoration` and `CycleRestoration` supply what differs: the generators, the images that each discriminator
compares, and the generators' loss terms.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from deblurlab.datasets import Sample
from deblurlab.discriminators import DiscriminatorOutput
from deblurlab.losses import DiscriminatorLoss
from deblurlab.losses.calls import check_scalar
from deblurlab.training.adversarial import DiscriminatorInput
from deblurlab.training.base import RestorationBase
from deblurlab.training.multiscale import multiscale_loss
from deblurlab.training.nonfinite import GuardedStep, Snapshot

LossTerms = dict[str, tuple[float, Tensor]]
"""Weight and value of each loss term, by its log name."""
Outputs = tuple[DiscriminatorOutput | None, DiscriminatorOutput | None]
"""Discriminator outputs on real and on generated images, where a loss term needs them."""


@dataclass
class MicroBatch:
    """Part of a batch, with what both updates share. Images are `(B, 3, H, W)` in [0, 1]."""

    blurred: Tensor
    sharp: Tensor
    share: float
    """Number of its images divided by the batch size."""
    pairs: tuple[Tensor, Tensor] | None = None
    """Blurred and sharp images of pairs, if `blurred` and `sharp` are unpaired."""
    generated: dict[str, list[Tensor]] = field(default_factory=dict)
    """Generated images by domain ("sharp", "blurred"), at all scales from coarse to fine, not clamped."""
    discriminator_inputs: dict[str, tuple[DiscriminatorInput, DiscriminatorInput]] = field(default_factory=dict)
    """Real and generated images for the discriminator of each domain, after the exchange with the image pool."""


class Restoration(RestorationBase):
    """Training step of restoration generators, with or without discriminators; arguments as for `RestorationBase`."""

    nonfinite: dict[str, Tensor]
    """Loss terms and gradients of the latest step -> bool on the device: whether they weren't finite."""
    _updated = ""  # name of the networks being updated
    _guard: GuardedStep | None = None  # of the current optimizer step, set by on_before_optimizer_step

    def training_step(self, batch: Sample, batch_idx: int) -> dict[str, Tensor]:
        """Update the discriminators, then the generators, on one batch; return the value of each loss term.

        An update with a non-finite loss or gradient leaves its networks and its optimizer unchanged, and the step then
        leaves all buffers unchanged.
        """
        micro_batches, optimizers = self.micro_batches(batch), self._named_optimizers()
        values: dict[str, Tensor] = {}
        self.nonfinite, self._gradient_norms = {}, dict[str, Tensor]()
        buffers = Snapshot(self._float_buffers)  # of batch norm and spectral norm
        if "discriminator" in optimizers and self.global_step >= self.settings.discriminator_start:
            for _ in range(self._n_critic):
                values |= self._update("discriminator", optimizers, micro_batches, self.discriminator_losses)
        values |= self._update("generator", optimizers, micro_batches, self.generator_losses)
        buffers.restore_unless(~torch.stack(list(self.nonfinite.values())).any())
        if self._logs_this_step():
            accuracies = {f"accuracy/{name}": accuracy for name, accuracy in self.accuracies().items()}
            self._log_step({f"loss/{name}": value for name, value in values.items()}, self._gradient_norms | accuracies)
        self._step_schedulers(batch_idx)
        return values

    def _update(
        self,
        name: str,
        optimizers: Mapping[str, LightningOptimizer],
        micro_batches: Sequence[MicroBatch],
        losses: Callable[[MicroBatch], LossTerms],
    ) -> dict[str, Tensor]:
        """Take one optimizer step on the batch's mean of a weighted sum; return the batch's mean of each term."""
        self._updated = name
        optimizers[name].zero_grad()
        values: dict[str, Tensor] = {}
        for i, micro_batch in enumerate(micro_batches, start=1):
            terms = losses(micro_batch)
            weighted = [weight * value for weight, value in terms.values() if weight]
            loss: Tensor = sum(weighted, start=0.0) * micro_batch.share  # type: ignore[assignment]
            # The gradient of a non-finite loss can be finite: NaN marks the step as invalid on every process.
            loss = loss * torch.where(loss.isfinite(), 1.0, torch.nan)
            with self._synchronised(now=i == len(micro_batches)):
                self.manual_backward(loss)
            for term, (weight, value) in terms.items():
                values[term] = values.get(term, 0) + value.detach() * micro_batch.share
                if weight:
                    self._note_nonfinite(f"loss/{term}", ~value.detach().isfinite())
        self._step_optimizer(name, optimizers[name])  # calls on_before_optimizer_step just before the update
        if self._guard is not None:
            self._guard.finish()
            self._guard = None
        return values

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient and guard the step; under fp16, gradients are unscaled here and nowhere earlier."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.settings.gradient_clip is not None:
            norm = nn.utils.clip_grad_norm_(parameters, self.settings.gradient_clip)
        else:
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        self._gradient_norms[f"gradient/{self._updated}"] = norm
        if getattr(self.trainer.precision_plugin, "scaler", None) is None:  # the loss scaler guards its own steps
            self._guard = GuardedStep(optimizer, norm)
            self._note_nonfinite(f"gradient/{self._updated}", ~self._guard.valid)

    def discriminator_losses(self, micro_batch: MicroBatch) -> LossTerms:
        """Return the adversarial losses and penalties of the discriminators; generators get no gradient from them."""
        first = not micro_batch.discriminator_inputs  # all n_critic updates of a batch use the same images
        if first:
            # Both updates share one pass of the generators, except with accumulation, which saves memory instead.
            shared = self.settings.accumulate == 1
            with torch.set_grad_enabled(shared):
                compared = self.compared_images(micro_batch)
            for domain, (real, fake) in compared.items():
                micro_batch.discriminator_inputs[domain] = real, self.adversarial_states[domain].exchange(fake)
            if not shared:
                micro_batch.generated.clear()
        terms: LossTerms = {}
        for domain, (real, fake) in micro_batch.discriminator_inputs.items():
            state = self.adversarial_states[domain]
            on_real, on_fake = state.discriminator(*real), state.discriminator(*fake)
            if first:
                state.record(on_real, on_fake, share=micro_batch.share)
            on_real, on_fake = state.history.attach("real", on_real), state.history.attach("fake", on_fake)
            values = {"real": on_real, "fake": on_fake, **self._context(real.image, real.condition)}
            for name, loss in self._adversarial_losses.items():
                key = f"discriminator_{name}"
                value = self._discriminator_calls[name]({**values, "restored": fake.image})
                terms[key + self._suffix(domain)] = 1.0, value
                penalty = loss.penalty(state.discriminator, real.image, fake.image, real.condition)
                if penalty is not None:
                    penalty = check_scalar(f"penalty of loss {name}", penalty)
                    terms[f"{key}_penalty" + self._suffix(domain)] = 1.0, penalty
        return terms

    def discriminate(
        self, names: Sequence[str], domain: str, real: DiscriminatorInput, fake: DiscriminatorInput
    ) -> Outputs:
        """Return a frozen discriminator's outputs for the generators' update, if one of the named terms needs them."""
        needing = [term for name in names if isinstance(term := self.terms[name], DiscriminatorLoss)]
        if not needing or self.global_step < self.settings.discriminator_start:
            return None, None
        state = self.adversarial_states[domain]
        with _frozen(state.discriminator):
            on_fake = state.discriminator(*fake)
        on_real = None
        if any(term.generator_needs_real for term in self.terms.values() if isinstance(term, DiscriminatorLoss)):
            with torch.no_grad():
                on_real = state.history.attach("real", state.discriminator(*real))
        return on_real, state.history.attach("fake", on_fake)

    def evaluate_terms(
        self,
        names: Sequence[str],
        images: list[Tensor],
        targets: Tensor,
        outputs: Outputs = (None, None),
        suffix: str = "",
        *,
        blurred: Tensor,
    ) -> LossTerms:
        """Evaluate the named terms on generated images at all scales; terms that lack discriminator outputs are 0.

        `blurred` is the generator's input.
        """
        on_real, on_fake = outputs
        values = self._context(targets, blurred)
        terms: LossTerms = {}
        for name in names:
            term, call = self.terms[name], self._calls[name]
            with self.gradients_for(name):
                if not isinstance(term, DiscriminatorLoss):
                    value = multiscale_loss(term, call, images, values, self.settings.target_scales)
                elif on_fake is None:
                    value = images[-1].new_zeros(())
                else:
                    value = call({**values, "real": on_real, "fake": on_fake, "restored": images[-1]})
            terms[name + suffix] = self.weights[name], value
        return terms

    def _context(self, sharp: Tensor, blurred: Tensor) -> dict[str, Any]:
        """Return the values of `losses.calls.CONTEXT` without the restored images."""
        return {"sharp": sharp, "blurred": blurred, "global_step": self.global_step}

    def gradients_for(self, *names: str) -> torch.set_grad_enabled:
        """Return a context that disables gradients if all named terms have weight 0."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and any(self.weights[name] for name in names))

    def _note_nonfinite(self, name: str, nonfinite: Tensor) -> None:
        self.nonfinite[name] = self.nonfinite.get(name, False) | nonfinite

    # What subclasses supply

    def micro_batches(self, batch: Sample) -> list[MicroBatch]:
        """Convert a batch to floats and split it into micro-batches."""
        raise NotImplementedError

    def compared_images(self, micro_batch: MicroBatch) -> dict[str, tuple[DiscriminatorInput, DiscriminatorInput]]:
        """Return the real and the generated images that the discriminator of each domain compares."""
        raise NotImplementedError

    def generator_losses(self, micro_batch: MicroBatch) -> LossTerms:
        """Return the loss terms of the generators."""
        raise NotImplementedError


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Disable the gradients of a network's parameters; gradients still flow through it to its input."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
