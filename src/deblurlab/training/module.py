"""What all trainings of a deblurring generator have in common."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.datasets import PairSet
from deblurlab.datasets.samples import Sample
from deblurlab.discriminators import Discriminator, DiscriminatorOutput
from deblurlab.errors import UserError
from deblurlab.losses import AdversarialLoss, DiscriminatorLoss
from deblurlab.runs.distributed import gathered, own
from deblurlab.training.adversarial import Adversary, Seen
from deblurlab.training.phased import OptimizerFactory, PhasedModule, SchedulerFactory
from deblurlab.training.phases import Example, Phase, Summands

Judged = tuple[DiscriminatorOutput | None, DiscriminatorOutput | None]
"""How real and made images were judged, where they were."""


class Restoration(PhasedModule):
    """A generator that learns by a weighted sum of loss terms, with or without adversaries.

    Each step has up to two phases: the discriminators learn from the images as they are made, then the generators
    learn through the discriminators as they have become. The first exists only if some term is adversarial. A subclass
    says which generators there are, what the discriminators see and what the generators minimise.

    Args:
        generator: The model, blurred -> restored; a list of scales, coarse to fine, while training, if it has several.
        discriminator: The adversary; None if no term needs one.
        terms: Loss terms by name.
        weights: Their weights by name; a term of weight 0 is computed without gradient and logged.
        n_critic: Updates of the discriminator per batch; None takes what the objective was published with.
        discriminator_start: Steps before the adversary comes into play: until then it neither learns nor judges, and
            terms that need it count 0.
        image_pool: Made images kept, from which a discriminator is shown half of what it learns from.
        history: Batches over which objectives that compare with an average take it; 0 takes the batch at hand.
        optimizer: This and the others as for `PhasedModule`. Batch norm sees one part of a batch at a time if
            `accumulate` cuts it, and with an adversary a generator then runs again for each part.

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
        judged = [term for term in terms.values() if isinstance(term, DiscriminatorLoss)]
        if (discriminator is None) == bool(judged):
            raise ValueError("there is a discriminator exactly if some loss term needs it")
        _check_trainable(terms, weights, discriminator_start)
        teachers = [term for term in judged if isinstance(term, AdversarialLoss)]
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
        self._taught, self._updates = bool(teachers), updates
        self._discriminator_start = discriminator_start
        self._image_pool, self._history = image_pool, history
        self._adversaries: dict[str, Adversary] = {}
        if discriminator is not None:
            self._add_adversary("sharp", discriminator)
        self.to(memory_format=self._format)

    def _add_adversary(self, side: str, discriminator: Discriminator) -> None:
        """Who tells real images of a side from made ones."""
        terms = dict(self.terms.items())
        self._adversaries[side] = Adversary(discriminator, terms, pool=self._image_pool, history=self._history)
        if not self._taught:
            discriminator.requires_grad_(False)

    def check_data(self, data: PairSet) -> None:
        """See that this can learn from a data set.

        Raises:
            UserError: It can't.
        """
        raise NotImplementedError

    @property
    def phases(self) -> list[Phase]:
        generating = Phase(self.generators, 0, 1, self._generator_losses)
        if not self._taught:
            return [generating]
        judges = tuple(adversary.discriminator for adversary in self._adversaries.values())
        return [Phase(judges, 1, self._updates, self._discriminator_losses, self._discriminator_start), generating]

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        """All of them, the one that restores first."""
        raise NotImplementedError

    # What is minimised

    def _seen(self, example: Example) -> dict[str, tuple[Seen, Seen]]:
        """Real and made images for the discriminator of each side."""
        raise NotImplementedError

    def _generator_losses(self, example: Example) -> Summands:
        raise NotImplementedError

    def _discriminator_losses(self, example: Example) -> Summands:
        first = not example.shown
        if first:
            with torch.set_grad_enabled(self._accumulate == 1):
                seen = self._seen(example)
            example.shown = {side: (real, self._adversaries[side].show(fake)) for side, (real, fake) in seen.items()}
            if self._accumulate > 1:  # memory is being saved
                example.made.clear()
        summands: Summands = {}
        for side, (real, fake) in example.shown.items():
            losses = self._adversaries[side].losses(real, fake, remember=example.share if first else None)
            summands |= {name + self._suffix(side): summand for name, summand in losses.items()}
        return summands

    def _suffix(self, side: str) -> str:
        """Of the names of what is about a side, where there are two."""
        return f"_{side}" if len(self.generators) > 1 else ""

    def _make(self, example: Example, side: str, network: nn.Module, images: Tensor) -> list[Tensor]:
        """Images of a side, at all scales; made once per example."""
        if side not in example.made:
            example.made[side] = scales(network(images))
        return example.made[side]

    def _judge(self, names: list[str], side: str, real: Seen, fake: Seen) -> Judged:
        """What the generators are told by a side's discriminator, if some of these terms listens to it; nothing before
        it comes into play."""
        heard = any(isinstance(self.terms[name], DiscriminatorLoss) for name in names)
        if not heard or self.global_step < self._discriminator_start:
            return None, None
        return self._adversaries[side].judge(real, fake)

    def _values(
        self, names: list[str], made: list[Tensor], wanted: Tensor, judged: Judged = (None, None), suffix: str = ""
    ) -> Summands:
        """What these terms say of made images, at all scales at which they apply, or of how they were judged: 0 as long
        as nobody judges."""
        (real, fake), summands = judged, {}
        for name in names:
            term = self.terms[name]
            with self._heeded(name):
                if not isinstance(term, DiscriminatorLoss):
                    value = _compared(term, made, wanted)
                elif fake is None:
                    value = made[-1].new_zeros(())
                else:
                    value = term.generator_loss(real, fake)
            summands[name + suffix] = self.weights[name], value
        return summands

    def _heeded(self, *names: str) -> torch.set_grad_enabled:
        """Within, terms without weight leave no gradient."""
        return torch.set_grad_enabled(torch.is_grad_enabled() and any(self.weights[name] for name in names))

    def accuracies(self) -> dict[str, Tensor]:
        """Share of the latest batch that each discriminator told right, by its name; of those that tell."""
        found = {f"discriminator{self._suffix(side)}": each.accuracy for side, each in self._adversaries.items()}
        return {name: accuracy for name, accuracy in found.items() if accuracy is not None}

    def _curves(self) -> dict[str, Tensor]:
        return {f"accuracy/{name}": accuracy for name, accuracy in self.accuracies().items()}

    # Evaluation

    def forward(self, blurred: Tensor) -> Tensor:
        """Restore images, `(B, 3, H, W)` in [0, 1], at the finest scale; clamped."""
        restored = self.generator(blurred)
        return scales(restored)[-1].clamp(0, 1)

    def test_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        return self(self._float(batch["blurred"]))

    def views(self, batch: Sample, restored: Tensor) -> list[Tensor]:
        """Images of a validation batch of one to be looked at side by side: `(3, H, W)` in [0, 1] each."""
        raise NotImplementedError

    def _float(self, images: Tensor) -> Tensor:
        """Bytes as they travel -> [0, 1]."""
        return images.to(self.dtype, memory_format=self._format).div(255)

    # Set-up and checkpoints

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit":  # a test afterwards leaves it alone
            for i, adversary in enumerate(self._adversaries.values()):
                adversary.seed(1_000_000 * i + 1000 * int(self.record.get("seed", 0)) + self.global_rank)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["memory"] = gathered({side: each.state_dict() for side, each in self._adversaries.items()})

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        memories = checkpoint.get("memory")
        if not isinstance(memories, list) or not memories or memories[0].keys() != self._adversaries.keys():
            raise UserError("the checkpoint is another module's or version's: init=<checkpoint> takes weights alone")
        memory = own(memories, self.trainer)
        for side, adversary in self._adversaries.items() if memory else ():
            adversary.load_state_dict(memory[side], self.device)


def scales(output: Tensor | list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
    """What a generator puts out, coarse to fine."""
    return list(output) if isinstance(output, (list, tuple)) else [output]


def _compared(term: nn.Module, made: list[Tensor], wanted: Tensor) -> Tensor:
    applied = made if getattr(term, "scales", "finest") == "all" else made[-1:]
    return sum((term(image, _resized(wanted, image)) for image in applied), start=0.0)  # type: ignore[return-value]


def _check_trainable(terms: Mapping[str, nn.Module], weights: Mapping[str, float], discriminator_start: int) -> None:
    weighted = [terms[name] for name in terms if weights[name]]
    if not weighted:
        raise ValueError("every loss term has weight 0: nothing would be learnt")
    if discriminator_start and all(isinstance(term, DiscriminatorLoss) for term in weighted):
        raise ValueError(
            f"until discriminator_start={discriminator_start} nothing would be learnt: every loss term with a weight "
            f"needs the discriminator"
        )


def _resized(wanted: Tensor, image: Tensor) -> Tensor:
    """Images at the size of one of the scales: means over areas."""
    size = image.shape[-2:]
    return wanted if wanted.shape[-2:] == size else F.interpolate(wanted, size, mode="area")
