"""Kernel Inception distance between sets of images."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.image.kid import poly_mmd

from deblurlab.metrics.inception import InceptionFeatures
from deblurlab.metrics.levels import levels

_MAX_PATCHES = 1000
"""Maximum number of patches of a set that are compared: the cost grows with its square."""
_BATCH_SIZE = 32
"""Number of patches whose features are computed at once."""


class KID(Metric):
    """Kernel Inception distance of restored images (Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, section 4).

    The distance between patches of restored and of sharp images, paired or not. Lower is better. Unlike the Fréchet
    Inception distance it is unbiased for small sets, and may be negative. It is NaN for fewer than two patches.

    Images are divided into non-overlapping patches around their centre. They are not resized, which would hide blur.
    Distances computed with different `weights` are not comparable. Equal patches count once: processes that run out of
    images repeat some, and one sharp image may come with several blurred ones.

    Args:
        weights: As for `InceptionFeatures`.
        patch: Side of the patches in pixels.

    Example:
        >>> metric = KID(weights="random", patch=32)
        >>> sharp = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> metric.update(sharp, real=True)
        >>> metric.update(sharp / 2, real=False)
        >>> metric.compute().item() > 0  # four patches of each
        True
    """

    title, unit, digits, higher_is_better = "KID", "", 4, False
    description = "kernel Inception distance of patches; lower is better"
    reset_real_features = False
    """`reset` keeps the features of sharp images, as with this option of torchmetrics' metrics."""

    full_state_update = False
    real: list[Tensor]
    generated: list[Tensor]

    def __init__(self, *, weights: str, patch: int = 128) -> None:
        super().__init__()
        if patch < 8:
            raise ValueError(f"metric.kid.patch={patch} must be at least 8 pixels")
        self._patch = patch
        self._features = InceptionFeatures(weights=weights, key="metric.kid.weights")
        self.add_state("real", [], dist_reduce_fx="cat")
        self.add_state("generated", [], dist_reduce_fx="cat")

    def update(self, images: Tensor, real: bool) -> None:
        """Add images, `(B, 3, H, W)` in [0, 1], to the sharp ones if `real`, else to the restored ones."""
        rows = self.real if real else self.generated
        for patches in torch.split(self._patches(levels(images)), _BATCH_SIZE):
            rows.append(self._features(patches.to(self.device)))

    def compute(self) -> Tensor:
        """Return the distance, from at most 1000 patches of each set."""
        real, generated = (_distinct_rows(rows) for rows in (self.real, self.generated))
        count = min(len(real), len(generated), _MAX_PATCHES)
        if count < 2:
            return torch.tensor(torch.nan)
        return poly_mmd(_evenly_spaced(real, count), _evenly_spaced(generated, count)).float()

    def reset(self) -> None:
        """Forget the restored images."""
        real = list(self.real)  # reset clears the list in place
        super().reset()
        self.real = real

    def _patches(self, images: Tensor) -> Tensor:
        """Divide images with values 0..255, `(B, 3, H, W)`, into uint8 patches `(N, 3, patch, patch)`."""
        height, width = images.shape[-2:]
        side = min(self._patch, height, width)
        top, left = (height % side) // 2, (width % side) // 2
        tiles = images[..., top:, left:].unfold(2, side, side).unfold(3, side, side)
        return tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side).to(torch.uint8)


def _distinct_rows(rows: Sequence[Tensor] | Tensor) -> Tensor:
    """Return the distinct feature vectors, sorted, `(N, D)` in float64."""
    joined = rows if isinstance(rows, Tensor) else torch.cat(list(rows)) if rows else torch.empty(0, 1)
    unique: Tensor = torch.unique(joined.cpu(), dim=0)
    return unique.double()


def _evenly_spaced(rows: Tensor, count: int) -> Tensor:
    """Select `count` evenly spaced rows."""
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]
