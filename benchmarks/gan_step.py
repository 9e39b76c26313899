"""Time of the framework's GAN step relative to a plain PyTorch loop, in the set-up of DeblurGAN-v2's code.

    python benchmarks/gan_step.py [--pairs 5] [--threads N] [Hydra overrides]

ResNet generator with 9 blocks, double discriminator, VGG19 conv3_3 and the relativistic least-squares objective; batch
of one crop of 256, in float32 and in bfloat16. Both alternate step by step as in `training_step.py`. The plain loop
computes nothing twice and no gradient that isn't used.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from deblurlab.training import PairedRestoration
from training_step import compare, parse_arguments

LOSS = "0.5*mse+0.006*vgg+0.01*adv_ra_ls"
SETUP = [
    "model=resnet", "discriminator=double", "loss.vgg.layers=[relu3_3]", "loss.vgg.weights=random",
    "loss.vgg.calibrated=false", "loader.batch_size=1", "augment.size=256", "optimizer.lr=1e-4", "scheduler=constant",
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the steps in both precisions."""
    options = parse_arguments(__doc__, (LOSS,), arguments)
    for precision in ("32-true", "bf16-mixed"):
        overrides = [*SETUP, f"trainer.precision={precision}", *options.overrides, f"loss={LOSS}"]
        compare(overrides, options.pairs, BareLoop)


class BareLoop:
    """Relativistic GAN without a framework: forward, discriminator, generator, average of the weights."""

    def __init__(self, module: PairedRestoration, make: Any) -> None:
        self.generator, self.discriminator, self.vgg = module.generator, module.discriminator, module.terms["vgg"]
        self.weights = module.weights
        self.optimizer = make["generator"](self.generator.parameters())
        self.discriminator_optimizer = make["discriminator"](self.discriminator.parameters())
        self.average = [p.detach().clone() for p in self.generator.parameters()]

    def step(self, blurred: Tensor, sharp: Tensor) -> None:
        """Update both networks on one batch."""
        restored = self.generator(blurred)
        self.discriminator_optimizer.zero_grad()
        real, fake = (self.discriminator(x, blurred).logits for x in (sharp, restored.detach()))
        _relativistic_loss(real, fake).backward()
        self.discriminator_optimizer.step()
        self.optimizer.zero_grad()
        self.discriminator.requires_grad_(False)
        real, fake = (self.discriminator(x, blurred).logits for x in (sharp, restored))
        self.discriminator.requires_grad_(True)
        loss = self.weights["mse"] * F.mse_loss(restored, sharp) + self.weights["vgg"] * self.vgg(restored, sharp)
        (loss + self.weights["adv_ra_ls"] * _relativistic_loss(fake, real)).backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.generator.parameters()), 0.001)


def _relativistic_loss(above: list[Tensor], below: list[Tensor]) -> Tensor:
    heads = [
        0.5 * ((a - b.mean() - 1).square().mean() + (b - a.mean() + 1).square().mean())
        for a, b in zip(above, below, strict=True)
    ]
    return torch.stack(heads).mean()


if __name__ == "__main__":
    main()
