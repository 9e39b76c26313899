"""How far restored images are from sharp ones as a set."""

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.image.kid import poly_mmd

from deblurlab.callbacks.metrics import set_name
from deblurlab.metrics.inception import InceptionFeatures
from deblurlab.metrics.levels import levels

_LOG = logging.getLogger(__name__)
_MOST = 1000
"""Patches of a set that are compared: the cost grows with the square."""
_AT_ONCE = 32


class Rows(Metric):
    """Collects rows from all processes; `compute` gives them in an order of their own, equal ones once: processes that
    ran out of images repeat some, and few sharp images may stand beside many blurred ones."""

    rows: list[Tensor]
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, rows: Tensor) -> None:
        self.rows.append(rows)

    def compute(self) -> Tensor:
        unique: Tensor = torch.unique(torch.cat(self.rows) if isinstance(self.rows, list) else self.rows, dim=0)
        return unique


class KID(pl.Callback):
    """Logs `val/kid`, the kernel Inception distance (Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4)
    between patches of restored and of sharp images, twins or not, and `val/kid_blurred`, that of the blurred ones;
    likewise `test/...`. Unlike the Fréchet Inception distance it has no bias in small sets; it may come out below 0.
    Lower is better.

    Images are cut into patches of `patch` x `patch` pixels, from their middle, as they are: scaled ones would hide
    blur. A set with less than two patches isn't measured. `weights` as for `InceptionFeatures`; distances by different
    weights can't be compared.
    """

    def __init__(self, *, weights: str, patch: int = 128) -> None:
        if patch < 8:
            raise ValueError(f"callbacks.kid.patch={patch} must be at least 8 pixels")
        self._patch = patch
        self._features = InceptionFeatures(weights=weights, key="callbacks.kid.weights")
        self._collected: dict[str, dict[str, Rows]] = {}
        self._known: dict[str, dict[str, Tensor]] = {}
        """Of each set the features of its sharp and its blurred images, which stay the same."""

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if not trainer.sanity_checking:
            self._update("val", dataloader_idx, outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        self._update("test", dataloader_idx, outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module)

    def _update(self, split: str, number: int, restored: Tensor, batch: Any) -> None:
        name = set_name(split, number)
        images = {"restored": levels(restored)}
        if name not in self._known:
            images |= {"sharp": batch["sharp" if "sharp" in batch else "unpaired_sharp"], "blurred": batch["blurred"]}
        for kind, of in images.items():
            rows = self._collected.setdefault(name, {}).setdefault(kind, Rows().to(restored.device))
            for patches in torch.split(self._patches(of), _AT_ONCE):
                rows.update(self._features.to(restored.device)(patches.to(restored.device)))

    def _finish(self, module: pl.LightningModule) -> None:
        for name, collected in self._collected.items():
            features = {kind: rows.compute().cpu().double() for kind, rows in collected.items()}
            first = name not in self._known
            known = self._known.setdefault(name, {kind: features.pop(kind) for kind in ("sharp", "blurred") if first})
            for key, of in ((f"{name}/kid", features["restored"]), (f"{name}/kid_blurred", known["blurred"])):
                count = min(len(of), len(known["sharp"]), _MOST)
                if count > 1:
                    module.log(key, poly_mmd(_spread(known["sharp"], count), _spread(of, count)).float())
                elif first:
                    _LOG.warning("%s isn't measured: a set takes two patches at least.", key)
        self._collected = {}

    def _patches(self, images: Tensor) -> Tensor:
        """Levels `(B, 3, H, W)` -> uint8 `(N, 3, patch, patch)`."""
        height, width = images.shape[-2:]
        side = min(self._patch, height, width)
        top, left = (height % side) // 2, (width % side) // 2
        cut = images[..., top:, left:].unfold(2, side, side).unfold(3, side, side)
        return cut.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side).to(torch.uint8)


def _spread(rows: Tensor, count: int) -> Tensor:
    """So many of them, evenly spread."""
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]
