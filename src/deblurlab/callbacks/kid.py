"""How far restored images are from sharp ones as a set."""

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torchmetrics.image.kid import KernelInceptionDistance

from deblurlab.metrics.inception import InceptionFeatures
from deblurlab.metrics.protocol import levels

_LOG = logging.getLogger(__name__)


class KID(pl.Callback):
    """Logs `val/kid`, the kernel Inception distance (Bińkowski et al., "Demystifying MMD GANs", ICLR 2018) between
    patches of restored and of sharp validation images, twins or not, and `val/kid_blurred`, that of the blurred ones.
    Unlike the Fréchet Inception distance it has no bias in small sets; it may come out below 0. Lower is better.

    Images are cut into patches of `patch` x `patch` pixels, from their middle, as they are: scaled ones would hide
    blur. `weights` as for `InceptionFeatures`; distances by different weights can't be compared.
    """

    def __init__(self, *, weights: str, patch: int = 128) -> None:
        self._patch = patch
        features = InceptionFeatures(weights=weights, key="callbacks.kid.weights")
        self._restored, self._blurred = (
            KernelInceptionDistance(feature=features, subsets=1, reset_real_features=False) for _ in range(2)
        )
        self._of_blurred: dict[str, float] | None = None
        """Measured in the first validation, as the sharp images' features are."""

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:  # fmt: skip
        if trainer.sanity_checking or dataloader_idx:
            return
        for metric in (self._restored, self._blurred):
            metric.to(pl_module.device)
        self._restored.update(self._patches(levels(outputs)), real=False)
        if self._of_blurred is None:
            sharp = self._patches(batch["sharp" if "sharp" in batch else "other"])
            self._restored.update(sharp, real=True)
            self._blurred.update(sharp, real=True)
            self._blurred.update(self._patches(batch["blurred"]), real=False)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if self._of_blurred is None:
            self._of_blurred = _distance("val/kid_blurred", self._blurred)
        pl_module.log_dict(_distance("val/kid", self._restored) | self._of_blurred)

    def _patches(self, images: Tensor) -> Tensor:
        """Levels `(B, 3, H, W)` -> uint8 `(N, 3, patch, patch)`."""
        height, width = images.shape[-2:]
        side = min(self._patch, height, width)
        top, left = (height % side) // 2, (width % side) // 2
        cut = images[..., top:, left:].unfold(2, side, side).unfold(3, side, side)
        return cut.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side).to(torch.uint8)


def _distance(key: str, metric: KernelInceptionDistance) -> dict[str, float]:
    """The distance of what has been collected; nothing if either side has less than two patches."""
    patches = min(sum(map(len, parts)) for parts in (metric.real_features, metric.fake_features))
    found = {}
    if patches < 2:
        _LOG.warning("%s isn't measured: it takes two patches of either side, and there is %d.", key, patches)
    else:
        metric.subset_size = patches
        with torch.random.fork_rng(devices=[]):  # it draws subsets at random
            torch.manual_seed(0)
            found[key] = float(metric.compute()[0])
    metric.reset()
    return found
