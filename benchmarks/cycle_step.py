"""The framework's CycleGAN step against a bare PyTorch loop of the same mathematics.

    python benchmarks/cycle_step.py [--pairs 30] [--threads N] [hydra overrides]

Both train the same four networks on the same batch on the same device, in turns, as in `training_step.py`. Printed is
the median of the ratios of neighbouring steps: target at most 1.03.
"""

import copy
import random
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from training_step import arguments, compare

from deblurlab.training import CycleRestoration

SMALL = ["model.width=16", "model.blocks=3", "discriminator.width=16", "loader.batch_size=2", "augment.size=96"]


class BareLoop:
    """What one would write by hand: discriminators that look at an image alone, then generators, pools of 50 images."""

    def __init__(self, module: CycleRestoration, make: Any, device: str) -> None:
        copied = copy.deepcopy(module).to(device)
        self.g, self.f = copied.generator, copied.reblurrer
        self.d, self.b = copied.discriminator, copied.blurred_discriminator
        self.weights = module.weights
        self.optimizer = make["generator"]([*self.g.parameters(), *self.f.parameters()])
        self.adversary = make["discriminator"]([*self.d.parameters(), *self.b.parameters()])
        self.pools: list[list[Tensor]] = [[], []]
        self.average = [p.detach().clone() for p in self.g.parameters()]

    def step(self, blurred: Tensor, sharp: Tensor) -> None:
        restored, reblurred = self.g(blurred), self.f(sharp)
        self.adversary.zero_grad()
        loss = 0
        for judge, real, fake, pool in (
            (self.d, sharp, restored, self.pools[0]), (self.b, blurred, reblurred, self.pools[1]),
        ):  # fmt: skip
            r, f = judge(real, real).logits[0], judge(_exchange(pool, fake.detach()), real).logits[0]
            loss = loss + 0.5 * ((r - 1).square().mean() + f.square().mean())
        loss.backward()
        self.adversary.step()
        self.optimizer.zero_grad()
        judges = torch.nn.ModuleList([self.d, self.b]).requires_grad_(False)
        loss = sum((j(x, x).logits[0] - 1).square().mean() for j, x in ((self.d, restored), (self.b, reblurred)))
        cycle = F.l1_loss(self.f(restored), blurred) + F.l1_loss(self.g(reblurred), sharp)
        loss = loss + self.weights["cycle"] * cycle
        if "identity" in self.weights:
            loss = loss + self.weights["identity"] * (
                F.l1_loss(self.g(sharp), sharp) + F.l1_loss(self.f(blurred), blurred)
            )
        judges.requires_grad_(True)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.g.parameters()), 0.001)


def _exchange(pool: list[Tensor], images: Tensor) -> Tensor:
    shown = []
    for image in images:
        if len(pool) < 50:
            pool.append(image)
        elif random.random() < 0.5:
            place = random.randrange(50)
            image, pool[place] = pool[place], image
        shown.append(image)
    return torch.stack(shown)


def main() -> None:
    given = arguments(__doc__)
    for loss in ("cycle+adv_ls", "cycle+identity+adv_ls"):
        chosen = ["experiment=cyclegan", "scheduler.interval=step", *(given.overrides or SMALL), f"loss={loss}"]
        compare(chosen, given.pairs, BareLoop)


if __name__ == "__main__":
    main()
