"""Training on pairs."""

from torch import Tensor, nn

from deblurlab.datasets import PairSet
from deblurlab.datasets.samples import Sample
from deblurlab.errors import UserError
from deblurlab.training.adversarial import Seen
from deblurlab.training.module import Restoration
from deblurlab.training.phases import Example, Summands


class PairedRestoration(Restoration):
    """A generator that learns from blurred images and their sharp twins. Arguments as for `Restoration`."""

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        return (self.generator,)

    def check_data(self, data: PairSet) -> None:
        if not data.paired:
            raise UserError(
                "data has no pairs, and the module learns from pairs alone: choose another data=, or "
                "experiment=cyclegan, which learns without"
            )
        for name, term in self.terms.items():
            if getattr(term, "compares", "pair") in ("cycle", "identity"):
                raise UserError(f"loss {name} takes a generator that blurs again, which module=cycle has")

    def _restore(self, example: Example) -> list[Tensor]:
        return self._make(example, "sharp", self.generator, example.blurred)

    def _seen(self, example: Example) -> dict[str, tuple[Seen, Seen]]:
        restored = self._restore(example)[-1]
        return {"sharp": (Seen(example.sharp, example.blurred), Seen(restored, example.blurred))}

    def _generator_losses(self, example: Example) -> Summands:
        restored = self._restore(example)
        names = list(self.terms)
        judged = self._judge(names, "sharp", *self._seen(example)["sharp"])
        return self._values(names, restored, example.sharp, judged)

    def _examples(self, batch: Sample) -> list[Example]:
        images = [self._float(batch[key]).chunk(self._accumulate) for key in ("blurred", "sharp")]
        size = len(batch["blurred"])
        return [Example(blurred, sharp, share=len(blurred) / size) for blurred, sharp in zip(*images, strict=True)]

    # Evaluation

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        example = self._examples(batch)[0]
        losses = {f"val/loss/{name}": value for name, (_, value) in self._generator_losses(example).items()}
        self.log_dict({**losses, **self._now()}, batch_size=1, sync_dist=True)
        return self._restore(example)[-1].clamp(0, 1)

    def views(self, batch: Sample, restored: Tensor) -> list[Tensor]:
        return [batch["blurred"][0] / 255, restored[0], batch["sharp"][0] / 255]
