"""Small training modules, batches and trainers."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deblurlab.discriminators import PatchGAN
from deblurlab.losses import L1, Adv, DiscriminatorLoss
from deblurlab.models import UNetRes
from deblurlab.training import PairedRestoration, StepSettings
from deblurlab.training.schedulers import constant


def images(seed: int) -> Tensor:
    """Return four random images."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator)


BATCHES = [{"blurred": images(i), "sharp": images(i + 100)} for i in range(6)]


class Loader:
    """Loader of the same batches in every epoch."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return iter(BATCHES)

    def __len__(self) -> int:
        return len(BATCHES)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=1e-3, betas=(0.5, 0.999))


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def split_settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """Collect the arguments that are settings of the step into one, `settings`."""
    settings = {f.name: arguments.pop(f.name) for f in fields(StepSettings) if f.name in arguments}
    return {**arguments, "settings": StepSettings(**settings)}


def module(terms: Mapping[str, nn.Module] | None = None, **arguments: Any) -> PairedRestoration:
    """Return a small module with weights of a fixed seed; its losses are L1 and Adv unless others are given."""
    torch.manual_seed(0)
    terms = {"l1": L1(), "adv": Adv()} if terms is None else terms
    adversarial = any(isinstance(term, DiscriminatorLoss) for term in terms.values())
    defaults = {
        "generator": UNetRes(width=4, depth=1, blocks=1),
        "discriminator": PatchGAN(n_layers=1, width=4) if adversarial else None,
        "weights": dict.fromkeys(terms, 1.0),
        "optimizer": {"generator": adam, "discriminator": adam},
        "scheduler": {"generator": constant, "discriminator": constant},
    }
    return PairedRestoration(terms=terms, **{**defaults, **split_settings(arguments)})


def fit(
    trained: pl.LightningModule,
    steps: int,
    *callbacks: pl.Callback,
    loader: Any = None,
    logger: Any = False,
    **options: Any,
) -> pl.Trainer:
    """Train on the CPU without output."""
    trainer = pl.Trainer(
        max_steps=steps, accelerator="cpu", logger=logger, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), **options,
    )  # fmt: skip
    trainer.fit(trained, loader or Loader())
    return trainer


class Poisoned(L1):
    """L1 that is NaN in `steps` training calls, from the third on."""

    steps = 1
    calls = 0

    def forward(self, restored: Tensor, sharp: Tensor) -> Tensor:
        value = super().forward(restored, sharp)
        Poisoned.calls += restored.requires_grad
        return value * (torch.nan if restored.requires_grad and 3 <= self.calls < 3 + self.steps else 1)


def state(network: nn.Module | None) -> dict[str, Tensor]:
    assert network is not None
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Return whether two state dicts are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Counting(nn.Module):
    """Counts how often the network within it runs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, *images: Tensor) -> Any:
        self.calls += 1
        return self.network(*images)


class Scales(nn.Module):
    """Restores at half and at full size."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, blurred: Tensor) -> list[Tensor]:
        restored = self.layer(blurred)
        return [F.avg_pool2d(restored, 2), restored]
