"""Networks and inference of a training; the step itself is in module.py."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from deblurlab.datasets import ImageSet, Sample
from deblurlab.losses import AdversarialLoss, DiscriminatorLoss
from deblurlab.losses.base import Compares
from deblurlab.losses.calls import Call, as_loss_term
from deblurlab.models.base import run_generator
from deblurlab.training.adversarial import AdversarialState
from deblurlab.training.memory_format import choose_memory_format, set_memory_format
from deblurlab.training.multiscale import scales
from deblurlab.training.optimization import OptimizerFactory, SchedulerFactory
from deblurlab.training.recorded import Recorded
from deblurlab.training.settings import StepSettings


class RestorationBase(Recorded):
    """Networks and state of a generator's training on a weighted sum of loss terms, with or without discriminators.

    Args:
        generator: Model, blurred -> restored; in training mode it may return several scales, coarse to fine.
        discriminator: Discriminator of the sharp domain, any module (see `as_discriminator`); None if no loss term
            needs one.
        terms: Loss terms by name, modules or functions.
        weights: Their weights by name; a term of weight 0 is computed without gradient and logged.
        optimizer: Factories of the optimizers, see `ManualOptimization`.
        scheduler: Factories of the schedulers, see `ManualOptimization`.
        settings: Settings of the step.
        seed: Seed of the image pools.
        record: The run's config, which every checkpoint contains.

    Raises:
        ValueError: The loss terms and the discriminator don't go together, or no term has a weight.
        UserError: A loss term asks for a value that it can't get.
    """

    comparisons: ClassVar[Sequence[Compares]] = ("pair", "set")
    """What loss terms may compare, see `LossTerm.compares`."""

    def __init__(
        self,
        *,
        generator: nn.Module,
        discriminator: nn.Module | None,
        terms: Mapping[str, nn.Module | Callable[..., Tensor]],
        weights: Mapping[str, float],
        optimizer: Mapping[str, OptimizerFactory],
        scheduler: Mapping[str, SchedulerFactory],
        settings: StepSettings | None = None,
        seed: int = 0,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        settings = settings or StepSettings()
        modules = {name: as_loss_term(name, term) for name, term in terms.items()}
        super().__init__(optimizer=optimizer, scheduler=scheduler, settings=settings)
        if (discriminator is None) == any(isinstance(term, DiscriminatorLoss) for term in modules.values()):
            raise ValueError("there is a discriminator exactly if some loss term needs it")
        for name, term in modules.items():
            if "." in name or hasattr(nn.ModuleDict, name):
                raise ValueError(f"loss.{name}: a term can't have this name; choose another one")
            if getattr(term, "compares", "pair") not in self.comparisons:
                raise ValueError(f"loss {name} needs a second generator, sharp -> blurred: choose module=cycle")
        _check_trainable(modules, weights, settings.discriminator_start)
        self.generator, self.discriminator = generator, discriminator
        self.terms, self.weights = nn.ModuleDict(modules), dict(weights)
        self._calls = {name: _generator_call(name, term) for name, term in modules.items()}
        """Call of each loss term in the generators' update."""
        self.record, self._seed = dict(record or {}), seed
        self.memory_format = torch.contiguous_format
        """Memory format of images, which is that of the restoring generator; set with those of the networks."""
        self._format_hooks: list[RemovableHandle] = []
        self.adversarial_states: dict[str, AdversarialState] = {}
        """Adversarial training state by domain ("sharp", "blurred")."""
        self._adversarial_losses = {name: t for name, t in modules.items() if isinstance(t, AdversarialLoss)}
        self._discriminator_calls = {
            name: Call(f"loss {name} of the discriminator", loss.discriminator_loss, leading=("real", "fake"))
            for name, loss in self._adversarial_losses.items()
        }
        published = max((loss.n_critic for loss in self._adversarial_losses.values()), default=1)
        self._n_critic = published if settings.n_critic is None else settings.n_critic
        if discriminator is not None:
            self._add_discriminator("sharp", discriminator)

    # What a training supplies

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        """All generators, the restoring one first."""
        raise NotImplementedError

    def check_data(self, data: ImageSet) -> None:
        """Raise UserError if the data set lacks what the loss terms need."""
        raise NotImplementedError

    def views(self, batch: Sample, restored: Tensor) -> list[Tensor]:
        """Return images of a validation batch of one to show side by side, `(3, H, W)` in [0, 1] each."""
        raise NotImplementedError

    # Networks

    @property
    def trained_networks(self) -> dict[str, tuple[nn.Module, ...]]:
        """The generators, and the discriminators if an adversarial loss trains them."""
        networks: dict[str, tuple[nn.Module, ...]] = {"generator": self.generators}
        if self._adversarial_losses:
            networks["discriminator"] = tuple(state.discriminator for state in self.adversarial_states.values())
        return networks

    def trained_parameters(self, name: str) -> list[nn.Parameter]:
        """Return the parameters that the optimizer `name` updates: with the generators, those of loss terms."""
        terms = self.terms.parameters() if name == "generator" else ()
        return [*super().trained_parameters(name), *(p for p in terms if p.requires_grad)]

    def _add_discriminator(self, domain: str, discriminator: nn.Module) -> None:
        losses, settings = self._adversarial_losses.values(), self.settings
        self.adversarial_states[domain] = AdversarialState(
            discriminator, losses, pool=settings.image_pool, history=settings.history
        )
        if not losses:
            discriminator.requires_grad_(False)

    def accuracies(self) -> dict[str, Tensor]:
        """Return the share of the latest batch that each discriminator classified correctly, by its name."""
        states = {f"discriminator{self._suffix(domain)}": state for domain, state in self.adversarial_states.items()}
        return {name: accuracy for name, state in states.items() if (accuracy := state.accuracy) is not None}

    def _suffix(self, domain: str) -> str:
        """Return the suffix of log names that tells domains apart, where there are two generators."""
        return f"_{domain}" if len(self.generators) > 1 else ""

    # Lightning

    def to_float(self, images: Tensor) -> Tensor:
        """Convert uint8 images, as they leave the loader, to [0, 1]."""
        return images.to(self.dtype, memory_format=self.memory_format).div(255)

    def forward(self, blurred: Tensor) -> Tensor:
        """Restore images, `(B, 3, H, W)` in [0, 1], at the finest scale, clamped to [0, 1]."""
        return scales(run_generator(self.generator, blurred))[-1].clamp(0, 1)

    def test_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the restored images of a batch."""
        return self(self.to_float(batch["blurred"]))

    def setup(self, stage: str) -> None:
        """Set memory formats; for a training, seed the image pools and compile the networks, if asked to."""
        self._set_memory_formats()
        if stage != "fit":
            return
        for i, state in enumerate(self.adversarial_states.values()):
            state.pool.reset(1_000_000 * i + 1000 * self._seed + self.global_rank)
        if self.settings.compile:
            for network in (network for networks in self.trained_networks.values() for network in networks):
                network.compile()

    def on_train_start(self) -> None:
        """List the floating-point buffers, which a step restores if its update was skipped."""
        self._float_buffers = [buffer for buffer in self.buffers() if buffer.is_floating_point()]

    def _set_memory_formats(self) -> None:
        """Convert networks and loss terms to their memory formats on the trainer's device and precision."""
        while self._format_hooks:  # of an earlier call
            self._format_hooks.pop().remove()
        setting, trainer = self.settings.channels_last, self.trainer
        choose = partial(
            choose_memory_format,
            channels_last=setting,
            device=trainer.strategy.root_device,
            precision=trainer.precision,
        )
        for network in (*self.generators, *(state.discriminator for state in self.adversarial_states.values())):
            self._format_hooks.append(set_memory_format(network, choose(network)))
        self.memory_format = choose(self.generator)
        self.terms.to(memory_format=torch.channels_last if setting else torch.contiguous_format)

    def on_validation_start(self) -> None:
        """Give every process the buffers of the first one, which are those that a checkpoint keeps."""
        for buffer in self.buffers() if self.trainer.world_size > 1 else ():
            torch.distributed.broadcast(buffer, 0)


def _generator_call(name: str, term: nn.Module) -> Call:
    if isinstance(term, DiscriminatorLoss):
        return Call(f"loss {name}", term.generator_loss, leading=("real", "fake"))
    return Call(f"loss {name}", term, leading=("restored", "sharp"))


def _check_trainable(terms: Mapping[str, nn.Module], weights: Mapping[str, float], discriminator_start: int) -> None:
    weighted = [terms[name] for name in terms if weights[name]]
    if not weighted:
        raise ValueError("every loss term has weight 0: the generator would not be trained")
    if discriminator_start and all(isinstance(term, DiscriminatorLoss) for term in weighted):
        raise ValueError(
            f"until discriminator_start={discriminator_start} the generator would not be trained: every loss term with "
            f"a weight needs the discriminator"
        )
