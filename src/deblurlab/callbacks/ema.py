"""Exponential moving average of the generator's weights."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from deblurlab._compat import foreach
from deblurlab.checkpoints.load import EMA_STATE


class EMA(pl.Callback):
    """Exponential moving average of the generator's parameters, used in validation (Polyak and Juditsky, 1992).

    After n updates the decay is `min(decay, (1 + n) / (10 + n))`, the warm-up of TensorFlow's
    ExponentialMovingAverage. Buffers are not averaged: validation uses the current ones. The average is stored in
    every checkpoint.
    """

    def __init__(self, *, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"callbacks.ema.decay={decay} must be in [0, 1)")
        self._decay = decay
        self._updates = 0
        self._average: dict[str, Tensor] = {}
        self._current: list[Tensor] = []
        """Parameters of the generator, in the order of the average."""
        self._trained: dict[str, Tensor] | None = None
        """Parameters that the average replaces during validation."""

    @property
    def state_key(self) -> str:
        """Key of the state in a checkpoint; subclasses have the same one, so that their averages are used."""
        return EMA_STATE

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Move the loaded average to the device, or start one from the current parameters."""
        current = _parameters(pl_module)
        loaded, self._current = self._average, list(current.values())
        self._average = {
            name: loaded[name].to(value.device) if loaded else value.detach().clone() for name, value in current.items()
        }

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Update the average."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        foreach("lerp_")(list(self._average.values()), self._current, 1 - decay)
        self._updates += 1

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace the generator's parameters by their average."""
        if self._updates and trainer.state.fn == "fit":
            self._trained = {name: value.detach().clone() for name, value in _parameters(pl_module).items()}
            _assign(pl_module, self._average)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the generator's parameters."""
        if self._trained is not None:
            _assign(pl_module, self._trained)
            self._trained = None

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates."""
        return {"updates": self._updates, "average": self._average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the average and the number of updates."""
        self._updates, self._average = state_dict["updates"], state_dict["average"]


def _parameters(module: pl.LightningModule) -> dict[str, nn.Parameter]:
    generator = module.generator
    assert isinstance(generator, nn.Module)
    return dict(generator.named_parameters())


@torch.no_grad()
def _assign(module: pl.LightningModule, values: dict[str, Tensor]) -> None:
    for name, parameter in _parameters(module).items():
        parameter.copy_(values[name])
