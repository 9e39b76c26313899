"""Time of the framework's training step relative to a plain PyTorch loop of the same mathematics.

    python benchmarks/training_step.py [--pairs 30] [--threads N] [--loss LOSS] [Hydra overrides]

Both train the same networks on the same batch and device. They alternate step by step in one process, so that other
load affects both equally. The framework's time includes Lightning, callbacks and loggers between two batches. Prints
the median times, the median of the ratios of consecutive steps, and, as a check, the distance between the weights of
both generators after the last step relative to the distance from their initial weights.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from common import argument_parser, median_ratio, parse, print_header, print_row
from deblurlab import config
from deblurlab.callbacks import EMA, NonFinite
from deblurlab.config import instantiate
from deblurlab.loggers.csv import MetricsCSV
from deblurlab.training import PairedRestoration
from deblurlab.training.build import build
from deblurlab.training.memory_format import choose_memory_format, set_memory_format
from deblurlab.training.optimizers import prepare_optimizer

LOSSES = "l1", "l1+vgg", "l1+adv", "l1+vgg+adv"
SMALL = [
    "model.width=16", "model.depth=2", "model.blocks=1", "discriminator.width=32",
    "loss.vgg.layers=[relu1_2]", "loss.vgg.weights=random", "loader.batch_size=4", "augment.size=96",
]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the steps for some losses."""
    options = parse_arguments(__doc__, LOSSES, arguments)
    for loss in options.loss or LOSSES:
        overrides = ["scheduler=constant", *(options.overrides or SMALL), f"loss={loss}"]  # as in the plain loop
        compare(overrides, options.pairs, BareLoop)


def parse_arguments(doc: str | None, losses: Sequence[str], arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; print the machine and the header of the table."""
    parser = argument_parser(doc)
    parser.add_argument("--pairs", type=int, default=30, help="measured steps of each")
    parser.add_argument("--loss", action="append", help=f"loss, may be repeated; default: {', '.join(losses)}")
    parser.add_argument("overrides", nargs="*", help="config overrides that replace those of the small networks")
    options = parse(parser, arguments)
    print_header(
        "loss",
        "batch",
        "precision",
        "framework (ms)",
        "bare loop (ms)",
        "framework / bare loop",
        "target",
        "weights differ (%)",
    )
    return options


def compare(overrides: list[str], pairs: int, bare: Callable[[Any, Any], Any]) -> None:
    """Print the median times of the framework's step and of a plain loop, and their median ratio.

    Args:
        overrides: Config overrides; the last one selects the loss.
        pairs: Number of measured steps of each.
        bare: Factory of the plain loop from a copy of the module on the device, in the memory formats of the training,
            and the optimizers' factories. The loop has the copy's `generator`, and its `step` takes blurred and sharp
            images.
    """
    with tempfile.TemporaryDirectory() as folder:
        overrides = [o for o in overrides if not (o.startswith("loss.") and o.split(".")[1] not in overrides[-1])]
        length = f"trainer.max_steps={pairs + 6}", "trainer.max_epochs=-1"
        cfg = config.compose(f"run={folder}", *overrides, *length)
        module = build(cfg)
        initial = _weights(module.generator)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        copied = copy.deepcopy(module).to(device)
        for network in (network for networks in copied.trained_networks.values() for network in networks):
            memory_format = choose_memory_format(
                network, cfg.module.channels_last, device=torch.device(device), precision=cfg.trainer.precision
            )
            set_memory_format(network, memory_format)
        copied.terms.to(memory_format=torch.channels_last if cfg.module.channels_last else torch.contiguous_format)
        loop = bare(copied, {name: _prepared(factory) for name, factory in instantiate(cfg.optimizer).items()})
        steps = AlternatingSteps(loop, device, cfg)
        callbacks = [EMA(decay=cfg.callbacks.ema.decay), NonFinite(folder=folder)]
        trainer = instantiate(cfg.trainer)(
            callbacks=callbacks, logger=[MetricsCSV(path=f"{folder}/metrics.csv")], enable_checkpointing=False,
            enable_progress_bar=False, limit_val_batches=0, val_check_interval=None,
        )  # fmt: skip
        trainer.fit(module, steps)
    framework, plain = (times[5 : pairs + 5] for times in (steps.framework, steps.bare))
    trained = _weights(module.generator)
    distance = (_weights(loop.generator) - trained).norm() / (initial - trained).norm()
    print_row(
        overrides[-1].removeprefix("loss="),
        f"{cfg.loader.batch_size} pairs of {cfg.augment.size}",
        cfg.trainer.precision,
        f"{statistics.median(framework) * 1e3:.1f}",
        f"{statistics.median(plain) * 1e3:.1f}",
        f"{median_ratio(framework, plain):.3f}",
        "at most 1.03",
        f"{100 * distance:.2g}",
    )


class AlternatingSteps:
    """Loader of a constant batch that runs a step of the plain loop before it yields the batch to the framework."""

    def __init__(self, loop: Any, device: str, cfg: Any) -> None:
        shape = (cfg.loader.batch_size, 3, cfg.augment.size, cfg.augment.size)
        self._batch = {name: torch.randint(0, 256, shape, dtype=torch.uint8) for name in ("blurred", "sharp")}
        self._loop, self._device, self._steps = loop, device, cfg.trainer.max_steps
        self._autocast = torch.autocast(device, torch.bfloat16, enabled=cfg.trainer.precision == "bf16-mixed")
        self.framework: list[float] = []
        self.bare: list[float] = []

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self._steps):
            with torch.random.fork_rng():  # both steps draw the same numbers
                _synchronize()
                start = time.perf_counter()
                with self._autocast:
                    self._loop.step(*map(self._to_device, self._batch.values()))
                _synchronize()
                self.bare.append(time.perf_counter() - start)
            yielded = time.perf_counter()
            yield self._batch
            _synchronize()
            self.framework.append(time.perf_counter() - yielded)

    def _to_device(self, images: Tensor) -> Tensor:
        return images.to(self._device).to(memory_format=torch.channels_last) / 255


class BareLoop:
    """Training loop without a framework: forward, discriminator, generator, average of the weights."""

    def __init__(self, module: PairedRestoration, make: Any) -> None:
        self.generator, self.discriminator = module.generator, module.discriminator
        self.vgg = dict(module.terms).get("vgg")
        self.weights = module.weights
        self.optimizer = make["generator"](self.generator.parameters())
        self.discriminator_optimizer = (
            make["discriminator"](self.discriminator.parameters()) if self.discriminator else None
        )
        self.average = [p.detach().clone() for p in self.generator.parameters()]

    def step(self, blurred: Tensor, sharp: Tensor) -> None:
        """Update all networks on one batch."""
        restored = self.generator(blurred)
        if self.discriminator is not None:
            self.discriminator_optimizer.zero_grad()
            real, fake = (self.discriminator(x, blurred).logits[0] for x in (sharp, restored.detach()))
            (0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())).backward()
            self.discriminator_optimizer.step()
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


def _prepared(factory: Callable[[Any], Optimizer]) -> Callable[[Any], Optimizer]:
    def make(parameters: Any) -> Optimizer:
        optimizer = factory(parameters)
        prepare_optimizer(optimizer)
        return optimizer

    return make


def _weights(network: torch.nn.Module) -> Tensor:
    return torch.cat([parameter.detach().cpu().flatten() for parameter in network.parameters()])


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
