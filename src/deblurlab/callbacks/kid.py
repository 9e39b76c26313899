"""Kernel Inception distance between sets of images."""

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
_MAX_PATCHES = 1000
"""Maximum number of patches of a set that are compared: the cost grows with its square."""
_BATCH_SIZE = 32
"""Number of patches whose features are computed at once."""


class FeatureRows(Metric):
    """Collector of feature vectors from all processes.

    `compute` returns the distinct rows, sorted. Duplicates occur because processes that run out of images repeat some,
    and because one sharp image may be loaded together with several blurred ones.
    """

    rows: list[Tensor]
    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", [], dist_reduce_fx="cat")

    def update(self, rows: Tensor) -> None:
        """Add rows, `(N, D)`."""
        self.rows.append(rows)

    def compute(self) -> Tensor:
        """Return the distinct rows of all processes, `(N, D)`."""
        unique: Tensor = torch.unique(torch.cat(self.rows) if isinstance(self.rows, list) else self.rows, dim=0)
        return unique


class KID(pl.Callback):
    """Kernel Inception distance of restored images (Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4).

    Logs `val/kid`, the distance between patches of restored and of sharp images, paired or not, and
    `val/kid_blurred`, that of the blurred images; likewise `test/...`. Lower is better. Unlike the Fréchet Inception
    distance it is unbiased for small sets, and may be negative.

    Images are divided into non-overlapping patches around their centre. They are not resized, which would hide blur.
    A set with fewer than two patches is not measured. Distances computed with different `weights` are not comparable.

    Args:
        weights: As for `InceptionFeatures`.
        patch: Side of the patches in pixels.
    """

    def __init__(self, *, weights: str, patch: int = 128) -> None:
        if patch < 8:
            raise ValueError(f"callbacks.kid.patch={patch} must be at least 8 pixels")
        self._patch = patch
        self._features = InceptionFeatures(weights=weights, key="callbacks.kid.weights")
        self._collected: dict[str, dict[str, FeatureRows]] = {}
        self._constant: dict[str, dict[str, Tensor]] = {}
        """Set name -> features of its sharp and its blurred images, computed once."""

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Collect the features of a validation batch."""
        if not trainer.sanity_checking:
            self._update("val", dataloader_idx, outputs, batch)

    def on_test_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        """Collect the features of a test batch."""
        self._update("test", dataloader_idx, outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the distances of the validation sets."""
        self._finish(pl_module)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the distances of the test sets."""
        self._finish(pl_module)

    def _update(self, split: str, number: int, restored: Tensor, batch: Any) -> None:
        name = set_name(split, number)
        images = {"restored": levels(restored)}
        if name not in self._constant:
            images |= {"sharp": batch["sharp" if "sharp" in batch else "unpaired_sharp"], "blurred": batch["blurred"]}
        for kind, values in images.items():
            rows = self._collected.setdefault(name, {}).setdefault(kind, FeatureRows().to(restored.device))
            for patches in torch.split(self._patches(values), _BATCH_SIZE):
                rows.update(self._features.to(restored.device)(patches.to(restored.device)))

    def _finish(self, module: pl.LightningModule) -> None:
        for name, collected in self._collected.items():
            features = {kind: rows.compute().cpu().double() for kind, rows in collected.items()}
            if first := name not in self._constant:
                self._constant[name] = {kind: features[kind] for kind in ("sharp", "blurred")}
            sharp, blurred = self._constant[name]["sharp"], self._constant[name]["blurred"]
            for key, compared in ((f"{name}/kid", features["restored"]), (f"{name}/kid_blurred", blurred)):
                count = min(len(compared), len(sharp), _MAX_PATCHES)
                if count > 1:
                    module.log(key, poly_mmd(_evenly_spaced(sharp, count), _evenly_spaced(compared, count)).float())
                elif first:
                    _LOG.warning("%s is not measured: the set has fewer than two patches.", key)
        self._collected = {}

    def _patches(self, images: Tensor) -> Tensor:
        """Divide images with values 0..255, `(B, 3, H, W)`, into uint8 patches `(N, 3, patch, patch)`."""
        height, width = images.shape[-2:]
        side = min(self._patch, height, width)
        top, left = (height % side) // 2, (width % side) // 2
        tiles = images[..., top:, left:].unfold(2, side, side).unfold(3, side, side)
        return tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side).to(torch.uint8)


def _evenly_spaced(rows: Tensor, count: int) -> Tensor:
    """Select `count` evenly spaced rows."""
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]
