"""Training on unpaired blurred and sharp images (CycleGAN)."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from deblurlab.datasets import ImageSet, Sample
from deblurlab.errors import UserError
from deblurlab.models.base import run_generator
from deblurlab.training.adversarial import DiscriminatorInput
from deblurlab.training.module import LossTerms, MicroBatch, Restoration
from deblurlab.training.multiscale import scales
from deblurlab.training.optimization import OptimizerFactory, SchedulerFactory
from deblurlab.training.settings import StepSettings

_OTHER = {"sharp": "blurred", "blurred": "sharp"}


class CycleRestoration(Restoration):
    """Two generators trained on unpaired images (CycleGAN: Zhu, Park, Isola and Efros, ICCV 2017, equation 3).

    The generator restores, the reblurrer blurs. Loss terms are evaluated by what they compare: "cycle", an image and
    its reconstruction by both generators (equation 2); "identity", an image and the output of the generator whose
    domain it is already in (section 5.2); "set", generated and real images of a domain through its discriminator;
    "pair", restored and sharp images, where the data set has pairs too.

    Log names end with the domain of the compared images: `cycle_blurred`, `cycle_sharp`, `adv_ls_sharp`. A step runs
    each generator twice, three times with an identity term; the restoring one once more on pairs. The condition of a
    discriminator is the image at the other end of the generator.

    Args:
        reblurrer: Generator, sharp -> blurred.
        blurred_discriminator: Discriminator of the blurred domain; unused if no loss term needs discriminators.
        generator: Generator, blurred -> sharp; this and the others as for `RestorationBase`.
        discriminator: Discriminator of the sharp domain.
        terms: Loss terms by name.
        weights: Their weights by name.
        optimizer: Factories of the optimizers; both generators share one, both discriminators another.
        scheduler: Factories of the schedulers.
        settings: Settings of the step.
        seed: Seed of the image pools.
        record: The run's config.

    Raises:
        ValueError: As for `RestorationBase`, or all loss terms need pairs.
    """

    def __init__(
        self,
        *,
        generator: nn.Module,
        reblurrer: nn.Module,
        discriminator: nn.Module | None,
        blurred_discriminator: nn.Module | None,
        terms: Mapping[str, nn.Module | Callable[..., Tensor]],
        weights: Mapping[str, float],
        optimizer: Mapping[str, OptimizerFactory],
        scheduler: Mapping[str, SchedulerFactory],
        settings: StepSettings | None = None,
        seed: int = 0,
        record: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            generator=generator,
            discriminator=discriminator,
            terms=terms,
            weights=weights,
            optimizer=optimizer,
            scheduler=scheduler,
            settings=settings,
            seed=seed,
            record=record,
        )
        self.reblurrer = reblurrer
        self.blurred_discriminator = None if discriminator is None else blurred_discriminator
        if self.blurred_discriminator is not None:
            self._add_discriminator("blurred", self.blurred_discriminator)
        if len(self._comparing("pair")) == len(terms):
            raise ValueError("every loss term needs pairs: add cycle, or train with module=paired")

    comparisons = ("pair", "set", "cycle", "identity")

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        """The generator and the reblurrer."""
        return self.generator, self.reblurrer

    def check_data(self, data: ImageSet) -> None:
        """Raise UserError if loss terms need pairs and the data set has none, or the reverse."""
        names, paired = self._comparing("pair"), {bool(item.references) for item in data.items("train")}
        if names and paired == {False}:
            raise UserError(f"loss {names[0]} needs pairs and the data set has none: data.pairs=<folder> adds some")
        if paired == {False, True} and not names:
            raise UserError("no loss term uses data.pairs: add one, such as l1, or leave data.pairs out")

    def _comparing(self, compares: str) -> list[str]:
        """Return the names of the loss terms that compare "pair", "set", "cycle" or "identity"."""
        return [name for name, term in self.terms.items() if getattr(term, "compares", "pair") == compares]

    def _generator_of(self, domain: str) -> nn.Module:
        return self.generator if domain == "sharp" else self.reblurrer

    def micro_batches(self, batch: Sample) -> list[MicroBatch]:
        """Convert a batch to floats and split it; a batch of pairs serves as unpaired images and as pairs."""
        images = [batch["blurred"], batch["sharp"] if "sharp" in batch else batch["unpaired_sharp"]]
        if "pair_sharp" in batch:
            images += [batch["pair_blurred"], batch["pair_sharp"]]
        elif "sharp" in batch:
            images += images
        parts = zip(*(self.to_float(each).chunk(self.settings.accumulate) for each in images), strict=True)
        size = len(batch["blurred"])
        return [
            MicroBatch(blurred, sharp, share=len(blurred) / size, pairs=(pair[0], pair[1]) if pair else None)
            for blurred, sharp, *pair in parts
        ]

    def generate(self, micro_batch: MicroBatch, domain: str) -> list[Tensor]:
        """Return the generated images of a domain at all scales; each generator runs once per micro-batch."""
        if domain not in micro_batch.generated:
            source = getattr(micro_batch, _OTHER[domain])
            micro_batch.generated[domain] = scales(run_generator(self._generator_of(domain), source))
        return micro_batch.generated[domain]

    def compared_images(self, micro_batch: MicroBatch) -> dict[str, tuple[DiscriminatorInput, DiscriminatorInput]]:
        """Return real and generated images of both domains, each with the other end of the generator as condition."""
        generated = {domain: self.generate(micro_batch, domain)[-1] for domain in _OTHER}
        images = {domain: getattr(micro_batch, domain) for domain in _OTHER}
        return {
            domain: (
                DiscriminatorInput(images[domain], generated[other].detach()),
                DiscriminatorInput(generated[domain], images[other]),
            )
            for domain, other in _OTHER.items()
        }

    def generator_losses(self, micro_batch: MicroBatch) -> LossTerms:
        """Return adversarial, cycle and identity terms of both domains, and the terms on pairs."""
        terms: LossTerms = {}
        for domain, (real, fake) in self.compared_images(micro_batch).items():
            generated, names = self.generate(micro_batch, domain), self._comparing("set")
            outputs = self.discriminate(names, domain, real, fake)
            terms |= self.evaluate_terms(
                names, generated, real.image, outputs, self._suffix(domain), blurred=fake.condition
            )
            for compares, source, target in (
                ("cycle", generated[-1], _OTHER[domain]),
                ("identity", real.image, domain),
            ):
                terms |= self._reconstruction_losses(compares, source, target, getattr(micro_batch, target))
        return terms | self._pair_losses(micro_batch)

    def _reconstruction_losses(self, compares: str, source: Tensor, domain: str, target: Tensor) -> LossTerms:
        """Return the "cycle" or "identity" terms: a generator's output for `source` in `domain` against `target`."""
        if not (names := self._comparing(compares)):
            return {}
        with self.gradients_for(*names):
            generated = scales(run_generator(self._generator_of(domain), source))
        return self.evaluate_terms(names, generated, target, suffix=self._suffix(domain), blurred=source)

    def _pair_losses(self, micro_batch: MicroBatch) -> LossTerms:
        if not (names := self._comparing("pair")):
            return {}
        assert micro_batch.pairs is not None, "check_data makes sure that there are pairs"
        blurred, sharp = micro_batch.pairs
        with self.gradients_for(*names):
            restored = scales(run_generator(self.generator, blurred))
            real, fake = DiscriminatorInput(sharp, blurred), DiscriminatorInput(restored[-1], blurred)
            outputs = self.discriminate(names, "sharp", real, fake)
        return self.evaluate_terms(names, restored, sharp, outputs, blurred=blurred)

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Return the restored images of a batch."""
        self.log_dict({"step": float(self.global_step)}, batch_size=1, sync_dist=True)
        return self(self.to_float(batch["blurred"]))

    def views(self, batch: Sample, restored: Tensor) -> list[Tensor]:
        """Return blurred | restored | reblurred | sharp | generated blurred | its restoration, cropped to one size.

        The last three are missing if there is no sharp image.
        """
        restored = restored.to(self.dtype)  # autocast, which ended with the validation step, may have reduced it
        row = [self.to_float(batch["blurred"]), restored, self._reblur(restored)]
        if (found := _any_sharp(batch)) is not None:
            sharp = self.to_float(found)
            generated = self._reblur(sharp)
            row += [sharp, generated, self(generated)]
        height, width = (min(image.shape[side] for image in row) for side in (2, 3))
        return [_centre_crop(image[0], height, width) for image in row]

    def _reblur(self, sharp: Tensor) -> Tensor:
        return scales(run_generator(self.reblurrer, sharp))[-1].clamp(0, 1)


def _any_sharp(batch: Sample) -> Tensor | None:
    return batch["sharp"] if "sharp" in batch else batch.get("unpaired_sharp")


def _centre_crop(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]
