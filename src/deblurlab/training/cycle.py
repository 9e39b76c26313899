"""Training without pairs."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from deblurlab.datasets import PairSet
from deblurlab.datasets.samples import Sample
from deblurlab.discriminators import Discriminator
from deblurlab.errors import UserError
from deblurlab.training.adversarial import Seen
from deblurlab.training.module import Restoration, scales
from deblurlab.training.phased import OptimizerFactory, SchedulerFactory
from deblurlab.training.phases import Example, Summands

_OTHER = {"sharp": "blurred", "blurred": "sharp"}


class CycleRestoration(Restoration):
    """Two generators that learn from blurred images and, independent of them, sharp ones (CycleGAN, Zhu et al., ICCV
    2017, equation 3): one restores, the other blurs again. What has gone through both shall come back as it was (terms
    that compare a "cycle"), what is on a generator's target side already shall stay as it is ("identity"), and two
    discriminators tell real images of either side from made ones ("set"). Where there are pairs too, terms that
    compare a "pair" teach the restoring generator from them.

    Losses are named by the side whose images they are about: `cycle_blurred`, `cycle_sharp`, `adv_ls_sharp`, ... In one
    step each generator runs twice, three times if some term is about identity; the restoring one once more on pairs.

    A conditional discriminator sees beside each image what the generators make of it.

    Args:
        reblurrer: Sharp -> blurred again; its parameters are the generator's optimizer's too.
        blurred_discriminator: Tells blurred images from reblurred ones; not used if no term needs a discriminator.
        generator: This and the others as for `Restoration`.
    """

    def __init__(
        self,
        *,
        generator: nn.Module,
        reblurrer: nn.Module,
        discriminator: Discriminator | None,
        blurred_discriminator: Discriminator | None,
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
            generator=generator,
            discriminator=discriminator,
            terms=terms,
            weights=weights,
            optimizer=optimizer,
            scheduler=scheduler,
            interval=interval,
            n_critic=n_critic,
            discriminator_start=discriminator_start,
            image_pool=image_pool,
            history=history,
            gradient_clip=gradient_clip,
            accumulate=accumulate,
            channels_last=channels_last,
            compile=compile,
            record=record,
        )
        self.reblurrer = reblurrer
        self.blurred_discriminator = None if discriminator is None else blurred_discriminator
        if self.blurred_discriminator is not None:
            self._add_adversary("blurred", self.blurred_discriminator)
        if len(self._named("pair")) == len(terms):
            raise ValueError("no loss term learns without pairs: add cycle, or train with module=paired")
        self.to(memory_format=self._format)

    @property
    def generators(self) -> tuple[nn.Module, ...]:
        return self.generator, self.reblurrer

    def check_data(self, data: PairSet) -> None:
        named = self._named("pair")
        if named and not data.has_pairs:
            raise UserError(
                f"loss {named[0]} compares with a sharp twin, and data has none: data.pairs=<folder> adds some"
            )
        if data.has_pairs and not data.paired and not named:
            raise UserError("no loss term learns from data.pairs: add one, such as l1, or leave them out")

    def _named(self, compares: str) -> list[str]:
        """The terms that compare this."""
        return [name for name, term in self.terms.items() if getattr(term, "compares", "pair") == compares]

    def _maker(self, side: str) -> nn.Module:
        """The generator whose images are of a side."""
        return self.generator if side == "sharp" else self.reblurrer

    def _made(self, side: str, example: Example) -> list[Tensor]:
        return self._make(example, side, self._maker(side), getattr(example, _OTHER[side]))

    # What is minimised

    def _seen(self, example: Example) -> dict[str, tuple[Seen, Seen]]:
        made = {side: self._made(side, example)[-1] for side in _OTHER}
        images = {side: getattr(example, side) for side in _OTHER}
        return {
            side: (Seen(images[side], made[other].detach()), Seen(made[side], images[other]))
            for side, other in _OTHER.items()
        }

    def _generator_losses(self, example: Example) -> Summands:
        summands: Summands = {}
        for side, (real, fake) in self._seen(example).items():
            made, names = self._made(side, example), self._named("set")
            judged = self._judge(names, side, real, fake)
            summands |= self._values(names, made, real.image, judged, f"_{side}")
            for compares, begin, end in (("cycle", made[-1], _OTHER[side]), ("identity", real.image, side)):
                summands |= self._kept(compares, begin, end, getattr(example, end))
        return summands | self._pair_losses(example)

    def _kept(self, compares: str, begin: Tensor, end: str, wanted: Tensor) -> Summands:
        """How far images that one more generator takes to the side `end` are from those that they should be."""
        if not (names := self._named(compares)):
            return {}
        with self._heeded(*names):
            made = scales(self._maker(end)(begin))
        return self._values(names, made, wanted, suffix=f"_{end}")

    def _pair_losses(self, example: Example) -> Summands:
        if not (names := self._named("pair")):
            return {}
        assert example.pairs is not None, "the data set was seen to have pairs"
        blurred, sharp = example.pairs
        with self._heeded(*names):
            restored = scales(self.generator(blurred))
            judged = self._judge(names, "sharp", Seen(sharp, blurred), Seen(restored[-1], blurred))
        return self._values(names, restored, sharp, judged)

    def _examples(self, batch: Sample) -> list[Example]:
        images = [batch["blurred"], _any_sharp(batch)]
        if "pair_sharp" in batch:
            images += [batch["pair_blurred"], batch["pair_sharp"]]
        elif "sharp" in batch:
            images += images
        parts = zip(*(self._float(each).chunk(self._accumulate) for each in images), strict=True)
        size = len(batch["blurred"])
        return [
            Example(blurred, sharp, share=len(blurred) / size, pairs=(pair[0], pair[1]) if pair else None)
            for blurred, sharp, *pair in parts
        ]

    # Evaluation

    def validation_step(self, batch: Sample, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        self.log_dict(self._now(), batch_size=1, sync_dist=True)
        return self(self._float(batch["blurred"]))

    def views(self, batch: Sample, restored: Tensor) -> list[Tensor]:
        """blurred | restored | reblurred | sharp | blurred again | restored, cut to one size."""
        blurred, sharp = self._float(batch["blurred"]), self._float(_any_sharp(batch))
        again, made = (scales(self.reblurrer(images))[-1].clamp(0, 1) for images in (restored, sharp))
        row = [blurred, restored, again, sharp, made, self(made)]
        height, width = (min(image.shape[side] for image in row) for side in (2, 3))
        return [_middle(image[0], height, width) for image in row]


def _any_sharp(batch: Sample) -> Tensor:
    return batch["sharp"] if "sharp" in batch else batch["unpaired_sharp"]


def _middle(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]
