"""Training on pairs of a blurred and a sharp image."""

from torch import Tensor, nn

from deblurlab.datasets import ImageSet, Sample
from deblurlab.errors import UserError
from deblurlab.models.base import run_generator
from deblurlab.training.adversarial import DiscriminatorInput
from deblurlab.training.module import LossTerms, MicroBatch, Restoration
from deblurlab.training.multiscale import scales


class PairedRestoration(Restoration):
    """One generator, blurred -> restored, trained on pairs; arguments as for `RestorationBase`."""

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        """The generator."""
        return (self.generator,)

    def check_data(self, data: ImageSet) -> None:
        """Raise UserError if the data set has no pairs."""
        if not all(item.references for item in data.items("train")):
            raise UserError(
                "module=paired trains on pairs and the data set has none: choose another data=, or "
                "experiment=cyclegan, which trains on unpaired images"
            )

    def micro_batches(self, batch: Sample) -> list[MicroBatch]:
        """Convert a batch of pairs to floats and split it."""
        images = [self.to_float(batch[key]).chunk(self.settings.accumulate) for key in ("blurred", "sharp")]
        size = len(batch["blurred"])
        return [MicroBatch(blurred, sharp, share=len(blurred) / size) for blurred, sharp in zip(*images, strict=True)]

    def restore(self, micro_batch: MicroBatch) -> list[Tensor]:
        """Return the restored images at all scales; the generator runs once per micro-batch."""
        if "sharp" not in micro_batch.generated:
            micro_batch.generated["sharp"] = scales(run_generator(self.generator, micro_batch.blurred))
        return micro_batch.generated["sharp"]

    def compared_images(self, micro_batch: MicroBatch) -> dict[str, tuple[DiscriminatorInput, DiscriminatorInput]]:
        """Return sharp and restored images, each with the blurred image as condition."""
        real = DiscriminatorInput(micro_batch.sharp, micro_batch.blurred)
        return {"sharp": (real, DiscriminatorInput(self.restore(micro_batch)[-1], micro_batch.blurred))}

    def generator_losses(self, micro_batch: MicroBatch) -> LossTerms:
        """Return all loss terms of the restored images."""
        names, restored = list(self.terms), self.restore(micro_batch)
        outputs = self.discriminate(names, "sharp", *self.compared_images(micro_batch)["sharp"])
        return self.evaluate_terms(names, restored, micro_batch.sharp, outputs, blurred=micro_batch.blurred)

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Log the loss terms of a batch, if it has sharp images, and return its restored images."""
        losses: dict[str, Tensor] = {}
        if "sharp" in batch:
            micro_batch = self.micro_batches(batch)[0]
            losses = {f"val/loss/{name}": value for name, (_, value) in self.generator_losses(micro_batch).items()}
            restored = self.restore(micro_batch)[-1].clamp(0, 1)
        else:
            restored = self(self.to_float(batch["blurred"]))
        self.log_dict({**losses, "step": float(self.global_step)}, batch_size=1, sync_dist=True)
        return restored

    def views(self, batch: Sample, restored: Tensor) -> list[Tensor]:
        """Return blurred | restored | sharp, if there is a sharp image."""
        sharp = [batch["sharp"][0] / 255] if "sharp" in batch else []
        return [batch["blurred"][0] / 255, restored[0], *sharp]
