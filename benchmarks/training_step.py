"""The framework's step against a bare PyTorch loop of the same mathematics.

    python benchmarks/training_step.py [--pairs 30] [--threads N] [hydra overrides]

Both train the same networks on the same batch on the same device. They take turns step by step in one process, so that
whatever else the machine does hits both alike; the framework's time is all that Lightning, callbacks and loggers do
between two batches. Printed is the median of the ratios of neighbouring steps: target at most 1.03.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from torch import Tensor

from deblurlab import config
from deblurlab.callbacks import EMA, NonFinite
from deblurlab.loggers.csv import MetricsCSV
from deblurlab.training import PairedRestoration
from deblurlab.training.run import build

SMALL = [
    "model.width=16", "model.depth=2", "model.blocks=1", "discriminator.width=32",
    "loss.vgg.layers=[relu1_2]", "loss.vgg.weights=random", "loader.batch_size=4", "augment.size=96",
]  # fmt: skip


def main() -> None:
    given = arguments(__doc__)
    for loss in ("l1", "l1+vgg", "l1+adv", "l1+vgg+adv"):
        compare([*(given.overrides or SMALL), f"loss={loss}"], given.pairs, BareLoop)


def arguments(doc: str | None) -> argparse.Namespace:
    """The command line; says where it runs."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=30, help="steps of each that are counted")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("overrides", nargs="*", help="instead of the small networks")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {device}")
    return given


def compare(overrides: list[str], pairs: int, bare: Callable[[Any, Any, str], Any]) -> None:
    """Print the median ratio, and the median times of the framework and of a bare loop: one that is made of the module,
    the optimizers' factories and the device, and whose `step` takes blurred and sharp images."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [o for o in overrides if not (o.startswith("loss.") and o.split(".")[1] not in overrides[-1])]
        steps = f"trainer.max_steps={pairs + 6}", "trainer.max_epochs=-1"
        cfg = config.compose(f"run={folder}", *overrides, *steps)
        module, _ = build(cfg)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        turns = Turns(bare(module, instantiate(cfg.optimizer, _convert_="all"), device), device, cfg)
        callbacks = [EMA(decay=cfg.callbacks.ema.decay), NonFinite(folder=folder)]
        trainer = instantiate(cfg.trainer)(
            callbacks=callbacks, logger=[MetricsCSV(path=f"{folder}/metrics.csv")], enable_checkpointing=False,
            enable_progress_bar=False, limit_val_batches=0, val_check_interval=None,
        )  # fmt: skip
        trainer.fit(module, turns)
    ours, theirs = (statistics.median(times[5 : pairs + 5]) for times in (turns.ours, turns.bare))
    ratio = statistics.median(a / b for a, b in zip(turns.ours[5 : pairs + 5], turns.bare[5 : pairs + 5], strict=True))
    batch = f"{cfg.loader.batch_size} pairs of {cfg.augment.size}"
    named = (
        f"{overrides[-1]:<27} {batch}: framework {ours * 1e3:7.1f} ms   bare {theirs * 1e3:7.1f} ms   ratio {ratio:.3f}"
    )
    print(named, flush=True)


class Turns:
    """A loader of one and the same batch; before it hands it out, the bare loop takes a step."""

    def __init__(self, loop: Any, device: str, cfg: Any) -> None:
        shape = (cfg.loader.batch_size, 3, cfg.augment.size, cfg.augment.size)
        self._batch = {name: torch.randint(0, 256, shape, dtype=torch.uint8) for name in ("blurred", "sharp")}
        self._loop, self._device = loop, device
        self._autocast = torch.autocast(device, torch.bfloat16, enabled=cfg.trainer.precision == "bf16-mixed")
        self.ours: list[float] = []
        self.bare: list[float] = []

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        asked = None
        while True:
            _wait()
            now = time.perf_counter()
            if asked is not None:
                self.ours.append(now - asked)
            with self._autocast:
                self._loop.step(*map(self._arrived, self._batch.values()))
            _wait()
            asked = time.perf_counter()
            self.bare.append(asked - now)
            yield self._batch

    def _arrived(self, images: Tensor) -> Tensor:
        return images.to(self._device).to(memory_format=torch.channels_last) / 255


class BareLoop:
    """What one would write by hand: forward, discriminator, generator, average of the weights."""

    def __init__(self, module: PairedRestoration, make: Any, device: str) -> None:
        copied = copy.deepcopy(module).to(device)
        self.generator, self.discriminator = copied.generator, copied.discriminator
        self.vgg = dict(copied.terms).get("vgg")
        self.weights = module.weights
        self.optimizer = make["generator"](self.generator.parameters())
        self.adversary = make["discriminator"](self.discriminator.parameters()) if self.discriminator else None
        self.average = [p.detach().clone() for p in self.generator.parameters()]

    def step(self, blurred: Tensor, sharp: Tensor) -> None:
        restored = self.generator(blurred)
        if self.discriminator is not None:
            self.adversary.zero_grad()
            real, fake = (self.discriminator(x, blurred).logits[0] for x in (sharp, restored.detach()))
            (0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())).backward()
            self.adversary.step()
        self.optimizer.zero_grad()
        loss = F.l1_loss(restored, sharp)
        if self.vgg is not None:
            loss = loss + self.weights["vgg"] * self.vgg(restored, sharp)
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
            loss = loss + self.weights["adv"] * F.softplus(-self.discriminator(restored, blurred).logits[0]).mean()
            self.discriminator.requires_grad_(True)
        loss.backward()
        self.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list(self.generator.parameters()), 0.001)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
