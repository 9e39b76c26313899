"""Base class of all generators: padding to a valid size, cropping back, multi-scale output."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

KeyRenaming = tuple[str, str | Callable[[re.Match[str]], str]]
"""Regular expression and replacement, as arguments of `re.sub`."""

Restored = Tensor | list[Tensor]
"""Restored images `(B, 3, H, W)`, or a list of them at several scales, coarse to fine."""


class Model(nn.Module, ABC):
    """Generator: network from blurred to restored images of any size.

    Images are `(B, 3, H, W)` RGB in [0, 1]. A network that needs another range converts inside `restore`. The output
    isn't clamped. A model that restores at several scales returns all scales, coarse to fine, in training mode and the
    finest scale alone in evaluation mode.

    A subclass implements `restore`. Its input has sides that are multiples of `multiple_of` and at least `min_size`
    (itself a multiple of `multiple_of`). `forward` pads by reflection to such a size and crops the result.
    """

    multiple_of: int = 1
    min_size: int = 1
    key_renamings: ClassVar[Sequence[KeyRenaming]] = ()
    """Renamings from the state-dict keys of the original project to those of this class, applied to every key in this
    order. A key that becomes empty is dropped: its weight isn't used by the forward pass."""

    @abstractmethod
    def restore(self, blurred: Tensor) -> Restored:
        """Restore a batch whose sides are multiples of `multiple_of` and at least `min_size`."""

    def forward(self, blurred: Tensor) -> Restored:
        """Restore a batch of any size."""
        height, width = blurred.shape[-2:]
        bottom, right = (
            max(self.min_size, -(-side // self.multiple_of) * self.multiple_of) - side for side in (height, width)
        )
        if not (bottom or right):
            return self.restore(blurred)
        restored = self.restore(pad_reflect(blurred, height + bottom, width + right))
        if isinstance(restored, Tensor):
            return restored[..., :height, :width]
        factors = [(height + bottom) // scale.shape[-2] for scale in restored]
        return [scale[..., : -(-height // n), : -(-width // n)] for scale, n in zip(restored, factors, strict=True)]


def pad_reflect(images: Tensor, height: int, width: int) -> Tensor:
    """Pad `(B, C, H, W)` at the bottom and right to `(B, C, height, width)` by reflection.

    Where the padding exceeds what reflection can fill (H - 1 rows, W - 1 columns), the edge is replicated.
    """
    bottom, right = height - images.shape[-2], width - images.shape[-1]
    reflected = F.pad(images, (0, min(right, images.shape[-1] - 1), 0, min(bottom, images.shape[-2] - 1)), "reflect")
    return F.pad(reflected, (0, width - reflected.shape[-1], 0, height - reflected.shape[-2]), "replicate")
