"""What every generator shares: any image size, one scale or several."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

Renaming = tuple[str, str | Callable[[re.Match[str]], str]]
"""A regular expression and its replacement, as `re.sub` takes them."""

Restored = Tensor | list[Tensor]
"""Restored images `(B, 3, H, W)`, or the same at several scales, coarse to fine."""


class Model(nn.Module, ABC):
    """A network blurred -> restored for images of any size.

    A subclass writes `restore`, which may rely on sides that are multiples of `multiple_of` and at least `min_size`
    (itself such a multiple); padding to that, by reflection, and cropping back happen here and nowhere else. Images
    are `(B, 3, H, W)` RGB in [0, 1]; a network that wants another range converts inside `restore`. What comes out is
    not clamped. A model that restores at several scales gives all of them while training, coarse to fine, and the
    finest alone otherwise.
    """

    multiple_of: int = 1
    min_size: int = 1
    published: ClassVar[Sequence[Renaming]] = ()
    """From the names in the original project's state dict to ours, applied in this order to each of them. What becomes
    empty is dropped: weights that its forward pass never uses."""

    @abstractmethod
    def restore(self, blurred: Tensor) -> Restored:
        """Restore a batch whose sides are multiples of `multiple_of`; same shape."""

    def forward(self, blurred: Tensor) -> Restored:
        height, width = blurred.shape[-2:]
        down, right = (
            max(self.min_size, -(-side // self.multiple_of) * self.multiple_of) - side for side in (height, width)
        )
        if not (down or right):
            return self.restore(blurred)
        restored = self.restore(padded(blurred, height + down, width + right))
        if isinstance(restored, Tensor):
            return restored[..., :height, :width]
        shrink = [(height + down) // scale.shape[-2] for scale in restored]
        return [scale[..., : -(-height // n), : -(-width // n)] for scale, n in zip(restored, shrink, strict=True)]


def padded(images: Tensor, height: int, width: int) -> Tensor:
    """`(B, C, H, W)` continued below and to the right by its reflection; one that is smaller than what is missing
    repeats its edge for the rest."""
    down, right = height - images.shape[-2], width - images.shape[-1]
    reflected = F.pad(images, (0, min(right, images.shape[-1] - 1), 0, min(down, images.shape[-2] - 1)), "reflect")
    return F.pad(reflected, (0, width - reflected.shape[-1], 0, height - reflected.shape[-2]), "replicate")
