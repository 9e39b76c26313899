"""Time of the framework's CycleGAN step relative to a plain PyTorch loop of the same mathematics.

    python benchmarks/cycle_step.py [--pairs 30] [--threads N] [--loss LOSS] [Hydra overrides]

Both train the same four networks on the same batch and device, alternating step by step as in `training_step.py`.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.training import CycleRestoration
from training_step import compare, parse_arguments

LOSSES = "cycle+adv_ls", "cycle+identity+adv_ls"
SMALL = ["model.width=16", "model.blocks=3", "discriminator.width=16", "loader.batch_size=2", "augment.size=96"]


class BareLoop:
    """CycleGAN loop without a framework: unconditional discriminators, then generators, image pools of 50 images."""

    def __init__(self, module: CycleRestoration, make: Any) -> None:
        self.generator, self.reblurrer = module.generator, module.reblurrer
        self.d, self.b = module.discriminator, module.blurred_discriminator
        self.weights = module.weights
        self.optimizer = make["generator"]([*self.generator.parameters(), *self.reblurrer.parameters()])
        self.discriminator_optimizer = make["discriminator"]([*self.d.parameters(), *self.b.parameters()])
        self.pools: list[list[Tensor]] = [[], []]
        self.average = [p.detach().clone() for p in self.generator.parameters()]

    def step(self, blurred: Tensor, sharp: Tensor) -> None:
        """Update all networks on one batch."""
        restored, reblurred = self.generator(blurred), self.reblurrer(sharp)
        self.discriminator_optimizer.zero_grad()
        loss = 0
        for discriminator, real, fake, pool in (
            (self.d, sharp, restored, self.pools[0]), (self.b, blurred, reblurred, self.pools[1]),
        ):  # fmt: skip
            pooled = _exchange(pool, fake.detach())
            real_logits, fake_logits = (discriminator(images, real).logits[0] for images in (real, pooled))
            loss = loss + 0.5 * ((real_logits - 1).square().mean() + fake_logits.square().mean())
        loss.backward()
        self.discriminator_optimizer.step()
        self.optimizer.zero_grad()
        discriminators = torch.nn.ModuleList([self.d, self.b]).requires_grad_(False)
        compared = (self.d, restored), (self.b, reblurred)
        loss = sum((network(x, x).logits[0] - 1).square().mean() for network, x in compared)
        cycle = F.l1_loss(self.reblurrer(restored), blurred) + F.l1_loss(self.generator(reblurred), sharp)
        loss = loss + self.weights["cycle"] * cycle
        if "identity" in self.weights:
            loss = loss + self.weights["identity"] * (
                F.l1_loss(self.generator(sharp), sharp) + F.l1_loss(self.reblurrer(blurred), blurred)
            )
        discriminators.requires_grad_(True)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.generator.parameters()), 0.001)


def _exchange(pool: list[Tensor], images: Tensor) -> Tensor:
    """Replace about half of the images by images of the pool."""
    exchanged = []
    for image in images:
        if len(pool) < 50:
            pool.append(image)
        elif random.random() < 0.5:
            index = random.randrange(50)
            image, pool[index] = pool[index], image
        exchanged.append(image)
    return torch.stack(exchanged)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the steps with and without an identity loss."""
    options = parse_arguments(__doc__, LOSSES, arguments)
    for loss in options.loss or LOSSES:
        overrides = ["experiment=cyclegan", "scheduler.interval=step", *(options.overrides or SMALL), f"loss={loss}"]
        compare(overrides, options.pairs, BareLoop)


if __name__ == "__main__":
    main()
